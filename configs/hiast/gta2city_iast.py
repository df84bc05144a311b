# IAST, HIAST's predecessor, GTA5 -> Cityscapes, with its settings for a V100 (HIAST spec 2.4, 4 and 5): no teacher, no strong
# view, no copy-paste. A round's half-way checkpoint labels the next round, its last one goes on; both are those of the last
# validation within the first or second half.
#   python tools/train.py configs/hiast/gta2city_iast.py --data-root DATA
_base_ = './gta2city.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_iast_stage0_source.py'),
    dict(type='Train', name='warmup', config='gta2city_iast_stage1_warmup.py', load_from='source.best'),
    *[
        stage
        for number, labeller, start, size, alpha, lr in (
            (1, 'warmup.best', 'warmup.last', (1280, 640), 0.2, 3e-6),
            (2, 'half1.last', 'round1.last', (1536, 768), 0.25, 2.5e-6),
            (3, 'half2.last', 'round2.last', (1536, 768), 0.3, 2e-6),
        )
        for options in ({'optim_wrapper.optimizer.lr': lr, 'param_scheduler.0.eta_min': lr / 100},)
        for stage in (
            dict(
                type='PseudoLabels', name=f'labels{number}', checkpoint=labeller, options={'test_pipeline.1.scale': size},
                selector=dict(type='InstanceAdaptive', alpha=alpha, beta=0.9, gamma=8.0)),
            dict(
                type='Train', name=f'half{number}', load_from=start, labels=f'labels{number}',
                options=dict(options, **{'train_cfg.max_iters': 2800})),
            dict(type='Train', name=f'round{number}', continues=f'half{number}', labels=f'labels{number}', options=options),
        )
    ],
]
model = dict(
    _delete_=True,
    type='mmuda.IAST',
    data_preprocessor={{_base_.data_preprocessor}},
    # each process by its own statistics, unlike its first stages and HIAST
    student=dict(
        _base_.model.student,
        backbone=dict(_base_.model.student.backbone, norm_cfg=dict(type='BN', requires_grad=False))),
    kld_weight=0.1,
    entropy_weight=3.0,
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.LoadLabels', to_image=True, backend='pillow'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.RandomBrightnessContrast', prob=0.3, limit=0.2),
            dict(type='mmuda.RandomSizedCrop', heights=(341, 1000), ratio=2.0, size=(512, 1024)),
            dict(type='mmuda.Pack'),
        ])))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1536, 768), backend='pillow', interpolation='lanczos'),
    dict(type='PackSegInputs'),
]
tta_model = dict(sizes=[(512, 1024), (640, 1280), (768, 1536), (900, 1800), (1024, 2048)])
train_cfg = dict(max_iters=6000)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=9351, eta_min=3e-8, by_epoch=False)]  # 3 epochs of the source, of which 2 run
