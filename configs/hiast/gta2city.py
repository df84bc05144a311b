# HIAST, GTA5 -> Cityscapes: source-only, adversarial warm-up, then three rounds of pseudo-labels and self-training on them
# (HIAST spec 5). The teacher labels the next round, the student goes on. Best snapshots up to the first round are chosen
# with target val labels, as in the reference; the log says so (README.md, T22).
#   python tools/train.py configs/hiast/gta2city.py --data-root DATA --cfg-options \
#       source:model.student.backbone.init_cfg.type=Pretrained source:model.student.backbone.init_cfg.checkpoint=resnet101-5d3b4d8f.pth
#   python tools/train.py configs/hiast/gta2city.py --data-root DATA --init warmup=WARM_UP.pth
_base_ = './gta2city_stage1_warmup.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_stage0_source.py'),
    dict(type='Train', name='warmup', config='gta2city_stage1_warmup.py', load_from='source.best'),
    *[
        stage
        for number, labeller, start, lr in (
            (1, 'warmup.best', 'warmup.last', 3e-6),
            (2, 'round1.last', 'round1.last', 2e-6),
            (3, 'round2.last', 'round2.last', 1e-6),
        )
        for stage in (
            dict(
                type='PseudoLabels', name=f'labels{number}', checkpoint=labeller,
                selector=dict(type='InstanceAdaptive', alpha=0.5, beta=0.9, gamma=8.0)),
            dict(
                type='Train', name=f'round{number}', load_from=start, labels=f'labels{number}',
                options={'optim_wrapper.optimizer.lr': lr, 'param_scheduler.0.eta_min': lr / 1000}),
        )
    ],
]
model = dict(
    _delete_=True,
    type='mmuda.HIAST',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.model.student}},
    teacher=dict(momentum=0.001, copy_buffers_every=1),
    evaluate='teacher',
    kld_weight=0.1,
    entropy_weight=1.0,
    consistency_weight=0.5,
)
train_dataloader = dict(
    batch_size=6,  # over all GPUs; published on two with 3 each
    dataset=dict(
        source=None,
        target=dict(
            label_dir=None,  # the recipe puts the round's pseudo-labels here
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', to_image=True),
                dict(type='mmuda.HardClassCopyPaste', num_hard_classes=14),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(341, 1000), ratio=2.0, size=(512, 1024)),
                dict(type='mmuda.StrongView', num_ops=3, prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(1536, 768)),
        dict(type='mmuda.LoadLabels', same_size=False),
        dict(type='PackSegInputs'),
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1536, 768)),
    dict(type='PackSegInputs'),
]
tta_model = dict(sizes=[(768, 1536)])  # tools/test.py --tta: as the published numbers were scored
train_cfg = dict(max_iters=8000, val_interval=400)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=8000, eta_min=3e-9, by_epoch=False)]
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    optimizer=dict(type='Adam', lr=3e-6, weight_decay=5e-4),
    paramwise_cfg={{_base_.optim_wrapper.student.paramwise_cfg}})
# Nothing of the source and no label of the target's training images may be opened.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(
            source=[f'{_base_.data_root}/GTA5', f'{_base_.data_root}/SYNTHIA'],
            target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
