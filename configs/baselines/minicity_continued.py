# Source-only continued for as many iterations as a method adapts: what more source training alone would give.
_base_ = './minicity_source.py'
recipe = [
    dict(type='Train', name='source', config='minicity_source.py'),
    dict(type='Train', name='continued', load_from='source.last'),
]
train_cfg = dict(max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=601, by_epoch=False)]
