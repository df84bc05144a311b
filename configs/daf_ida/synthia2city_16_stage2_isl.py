# ISL, SYNTHIA -> Cityscapes, 16 classes (DAF+IDA spec 5.1): 25001 iterations on the target alone, with the labels of all
# pixels of confidence 0.9 or more, made before iterations 0, 10001 and 20001; then the sampler starts anew.
_base_ = './synthia2city_16_stage1_daf.py'
recipe = [
    *_base_.recipe,
    *[
        stage
        for number, given, begin, end in (
            (1, dict(load_from='daf.best'), None, 10001),
            (2, dict(continues='isl1'), 10001, 20001),
            (3, dict(continues='isl2'), 20001, 25001),
        )
        for stage in (
            dict(
                type='PseudoLabels', name=f'labels{number}', config='synthia2city_16_stage2_isl.py',
                checkpoint=given.get('load_from') or f'{given["continues"]}.last',
                selector=dict(type='FixedThreshold', threshold=0.9, at='network')),
            dict(
                type='Train', name=f'isl{number}', config='synthia2city_16_stage2_isl.py', labels=f'labels{number}', **given,
                options={'train_cfg.max_iters': end, 'train_dataloader.sampler.restart_every': begin}),
        )
    ],
]
model = dict(
    _delete_=True,
    type='mmuda.SelfTraining',
    data_preprocessor={{_base_.model.data_preprocessor}},
    student={{_base_.model.student}},
    resize_once=True,
)
train_dataloader = dict(sampler=dict(restart_every=None), dataset=dict(source=None))  # the recipe puts in the labels
train_cfg = dict(max_iters=25001, val_interval=1000)  # the horizon of the learning rate stays 90000
optim_wrapper = dict(_delete_=True, constructor='mmuda.NetworkOptimConstructor', **_base_.optim_wrapper.student)
# Nothing of the source may be opened either.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(
        _base_.custom_hooks[-1],
        forbid=dict(_base_.custom_hooks[-1].forbid, source=[f'{_base_.data_root}/SYNTHIA'])),
]
