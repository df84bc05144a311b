# ISL on MiniCity: the target alone, by pseudo-labels on disk, which are made anew half-way.
_base_ = './minicity_stage1_daf.py'
recipe = [
    *_base_.recipe,
    dict(
        type='PseudoLabels', name='labels1', config='minicity_stage2_isl.py', checkpoint='daf.last',
        selector=dict(type='FixedThreshold', threshold=0.9)),
    dict(
        type='Train', name='isl1', config='minicity_stage2_isl.py', load_from='daf.last', labels='labels1',
        options={'train_cfg.max_iters': 300}),
    dict(
        type='PseudoLabels', name='labels2', config='minicity_stage2_isl.py', checkpoint='isl1.last',
        selector=dict(type='FixedThreshold', threshold=0.9)),
    dict(type='Train', name='isl2', config='minicity_stage2_isl.py', continues='isl1', labels='labels2'),
]
model = dict(
    _delete_=True,
    type='mmuda.SelfTraining',
    data_preprocessor={{_base_.model.data_preprocessor}},
    student={{_base_.model.student}},
)
train_dataloader = dict(
    dataset=dict(
        source=None,
        target=dict(
            label_dir=None,  # the recipe puts the labels here
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=601, by_epoch=False)]
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    optimizer=dict(_base_.optim_wrapper.student.optimizer, lr=5e-4),
)
# Nothing of the source and no label of the target's training images may be opened.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(
            source=[f'{_base_.data_root}/GTA5', f'{_base_.data_root}/SYNTHIA'],
            target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
