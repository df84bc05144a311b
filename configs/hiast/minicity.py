# HIAST on MiniCity: the paper's losses and flow on the network and optimiser of all MiniCity configs. Every hand-over is the
# last checkpoint: no target label chooses one. Weaker views than the paper's, and nearly whole images: a small network that
# normalises by them loses what they change.
_base_ = './minicity_stage1_warmup.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='warmup', config='minicity_stage1_warmup.py', load_from='source.last'),
    *[
        stage
        for number, before, lr in ((1, 'warmup', 1.5e-4), (2, 'round1', 1e-5), (3, 'round2', 5e-6))
        for stage in (
            dict(
                type='PseudoLabels', name=f'labels{number}', config='minicity.py', checkpoint=f'{before}.last',
                selector=dict(type='InstanceAdaptive', alpha=0.5, beta=0.9, gamma=8.0)),
            dict(
                type='Train', name=f'round{number}', config='minicity.py', load_from=f'{before}.last',
                labels=f'labels{number}', options={'optim_wrapper.optimizer.lr': lr}),
        )
    ],
]
model = dict(
    _delete_=True,
    type='mmuda.HIAST',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    teacher=dict(momentum=0.01, copy_buffers_every=1),
    evaluate='teacher',
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        source=None,
        target=dict(
            label_dir=None,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', to_image=True),
                dict(type='mmuda.HardClassCopyPaste', num_hard_classes=14),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(85, 128), ratio=2.0, size=(128, 256)),
                dict(type='mmuda.StrongView', num_ops=1, prob=0.1),
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=400, val_interval=400)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=400, eta_min=1e-6, by_epoch=False)]
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    optimizer={{_base_.optim_wrapper.student.optimizer}},
)
# Nothing of the source and no label of the target's training images may be opened.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(source=[f'{_base_.data_root}/GTA5'], target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
