# HIAST on top of another method, MiniCity: the rounds start from EHTDI in the place of the warm-up. On a checkpoint of your own:
#   python tools/train.py configs/hiast/minicity_ehtdi.py --init ehtdi=FILE
_base_ = './minicity.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='ehtdi', config='../ehtdi/minicity.py', load_from='source.last'),
    dict(_base_.recipe[2], checkpoint='ehtdi.last'),
    dict(_base_.recipe[3], load_from='ehtdi.last'),
    *_base_.recipe[4:],
]
