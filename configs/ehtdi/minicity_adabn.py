# EHTDI on MiniCity, then the batch-norm statistics of the target alone: how much of the score hangs on the statistics,
# which EHTDI leaves as a mixture of its five passes over both domains.
_base_ = '../baselines/minicity_adabn.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='ehtdi', config='minicity.py', load_from='source.last'),
    dict(type='Train', name='adabn', load_from='ehtdi.last'),
]
