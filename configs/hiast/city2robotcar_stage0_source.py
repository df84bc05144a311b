# HIAST's source-only stage, Cityscapes in nine classes. Nothing is published of this task's first stages: epochs and rates of
# gta2city_stage0_source.py. Scored at RobotCar's own size, 960x1280 (README.md).
_base_ = './gta2city_stage0_source.py'
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
train_cfg = dict(max_iters=2968)  # 8 epochs
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2968, eta_min=1e-7, by_epoch=False)]
