# EHTDI's edge variant on MiniCity, then the batch-norm statistics of the target alone.
_base_ = './minicity_adabn.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='ehtdi_edge', config='minicity_edge.py', load_from='source.last'),
    dict(type='Train', name='adabn', load_from='ehtdi_edge.last'),
]
