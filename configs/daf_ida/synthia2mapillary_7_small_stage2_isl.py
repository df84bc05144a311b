# ISL, SYNTHIA -> Mapillary Vistas, 7 classes, 640x320 (DAF+IDA spec 5.1): 10001 iterations on the target alone, with one
# round of labels. That many are those of its ancestor CTRL; the reference has none (spec 12).
_base_ = './synthia2mapillary_7_small_stage1_daf.py'
recipe = [
    *_base_.recipe,
    dict(
        type='PseudoLabels', name='labels', config='synthia2mapillary_7_small_stage2_isl.py', checkpoint='daf.best',
        selector=dict(type='FixedThreshold', threshold=0.9, at='network')),
    dict(type='Train', name='isl', config='synthia2mapillary_7_small_stage2_isl.py', load_from='daf.best', labels='labels'),
]
model = dict(
    _delete_=True,
    type='mmuda.SelfTraining',
    data_preprocessor={{_base_.model.data_preprocessor}},
    student={{_base_.model.student}},
    resize_once=True,
)
train_dataloader = dict(dataset=dict(source=None))  # the recipe puts in the labels
train_cfg = dict(max_iters=10001, val_interval=1000)  # the horizon of the learning rate stays 90000
optim_wrapper = dict(_delete_=True, constructor='mmuda.NetworkOptimConstructor', **_base_.optim_wrapper.student)
# Nothing of the source may be opened either.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(
        _base_.custom_hooks[-1],
        forbid=dict(_base_.custom_hooks[-1].forbid, source=[f'{_base_.data_root}/SYNTHIA'])),
]
