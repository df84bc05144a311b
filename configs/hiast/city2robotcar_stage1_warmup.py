# HIAST's adversarial warm-up, Cityscapes -> Oxford RobotCar, nine classes.
_base_ = './gta2city_stage1_warmup.py'
recipe = [
    dict(type='Train', name='source', config='city2robotcar_stage0_source.py'),
    dict(type='Train', name='warmup', load_from='source.best'),
]
model = dict(student=dict(decode_head=dict(num_classes=9)))
train_dataloader = dict(
    dataset=dict(
        source=dict(
            type='mmuda.CityscapesDataset',
            split='train',
            classes=9,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(341, 1000), ratio=1280 / 960, size=(768, 1024)),
                dict(type='mmuda.Pack'),
            ]),
        target=dict(
            type='mmuda.RobotCarDataset',
            classes=9,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(341, 900), ratio=1280 / 960, size=(768, 1024)),
                dict(type='mmuda.Pack'),
            ])))
val_dataloader = dict(
    dataset=dict(
        type='mmuda.RobotCarDataset',
        classes=9,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmuda.LoadLabels'),
            dict(type='PackSegInputs'),
        ]))
test_dataloader = val_dataloader
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
tta_model = dict(sizes=[(960, 1280)])
train_cfg = dict(max_iters=2972)  # 4 epochs
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2972, eta_min=2e-8, by_epoch=False)]
custom_hooks = _base_.custom_hooks[:-1]  # the target's training drives have no labels
