# Depth Distribution on MiniCity: the adaptation, pseudo-labels without small regions, and self-training on the target alone.
_base_ = './minicity_stage1_uda.py'
recipe = [
    *_base_.recipe,
    dict(
        type='PseudoLabels', name='labels', config='minicity.py', checkpoint='uda.last',
        # 2 to 168 pixels, as 50 to 5000 are at 1280x760, by the classes' shares of the source's pixels
        selector=dict(type='FixedThreshold', threshold=0.9, at='network', min_area=dict(low=2, high=168, frequency=[
            0.369, 0.0299, 0.24, 0.0132, 0.00941, 0.0116, 0.00263, 0.00326, 0.112, 0.0158, 0.0818, 0.00494, 0.00326, 0.0488,
            0.0189, 0.0147, 0.0136, 0.0035, 0.00352
        ]))),
    dict(type='Train', name='selftrain', config='minicity.py', load_from='uda.last', labels='labels'),
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
    optimizer=dict(_base_.optim_wrapper.student.optimizer, lr=1e-4),
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
