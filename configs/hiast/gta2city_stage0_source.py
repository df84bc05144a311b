# HIAST's source-only stage. Its own is not published; this is its predecessor's (HIAST spec 5.2): 8 epochs, batch 8. The later
# stages' configs derive from this one, which holds what they share: network, scoring, optimiser.
#   python tools/train.py configs/hiast/gta2city_stage0_source.py --data-root DATA --cfg-options \
#       model.student.backbone.init_cfg.type=Pretrained model.student.backbone.init_cfg.checkpoint=resnet101-5d3b4d8f.pth
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101_torchvision.py', '../_base_/datasets/gta2city.py'
]
recipe = [dict(type='Train', name='source')]
model = dict(
    type='mmuda.Supervised',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        source=dict(
            split='gta5_hiast.txt',  # 24941 images, all but 25
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', to_image=True),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(341, 950), ratio=2.0, size=(512, 1024)),
                dict(type='mmuda.Pack'),
            ]),
        target=None))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(1024, 512)),
        dict(type='mmuda.LoadLabels', same_size=False),  # scored at 1024x2048
        dict(type='PackSegInputs'),
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 512)),
    dict(type='PackSegInputs'),
]
tta_pipeline = [  # tools/test.py --tta: the scales in IAST's evaluation configs, no flip
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='PackSegInputs'),
]
tta_model = dict(
    type='mmuda.SummedProbabilities',
    sizes=[(512, 1024), (640, 1280), (768, 1536), (900, 1800), (1024, 2048)])
train_cfg = dict(type='IterBasedTrainLoop', max_iters=24936, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# One floor for all groups: a thousandth of the head's first learning rate.
param_scheduler = [dict(type='CosineAnnealingLR', T_max=24936, eta_min=1e-7, by_epoch=False)]
optim_wrapper = dict(
    constructor='mmuda.NetworkOptimConstructor',
    optimizer=dict(type='Adam', lr=1e-5, weight_decay=5e-4),
    paramwise_cfg=dict(rules=[dict(match=r'decode_head\.', lr_mult=10)]))
