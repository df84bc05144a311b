# Depth Distribution's adaptation, SYNTHIA -> Cityscapes, 16 classes, from ImageNet weights (spec 4 and 5.1; experiment 1):
# 90000 iterations of one image per domain, both at 1280x760.
#   python tools/train.py configs/depth_distribution/synthia2city_16_stage1_uda.py --data-root DATA --cfg-options \
#       model.student.init_cfg.type=Pretrained model.student.init_cfg.checkpoint=IMAGENET.pth
# From a trained model and its discriminator instead: --cfg-options uda:load_from=FILE
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101_density.py',
    '../_base_/datasets/synthia2city_depth_16.py', '../_base_/schedules/depth_distribution_90k.py'
]
recipe = [dict(type='Train', name='uda', config='synthia2city_16_stage1_uda.py', carry=['discriminator'])]
model = dict(
    type='mmuda.DepthDistribution',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    resize_once=True,
    mixtures='16',
    density_scale=1e6,
    off_class_density=True,  # T5
    adv_input='seg_density',
    discriminator=dict(type='mmuda.FCDiscriminator'),
    gan_loss='bce',
    # 1 / (16 f) of the classes' frequencies f in SYNTHIA
    class_weight=[
        0.327, 0.313, 0.206, 22.427, 22.558, 5.811, 155.643, 59.528, 0.586, 0.882, 1.423, 12.871, 1.488, 3.955, 29.164, 27.563
    ],
    source_balance_weight=0.01,
    depth_weight=0.005,
    adv_weight=0.05,
    target_balance_weight=0.05,
    disc_weight=1.0,
)
train_dataloader = dict(
    dataset=dict(
        source=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.LoadLabels'),
            dict(type='mmuda.LoadDepth'),
            dict(type='mmuda.GridSample', size=(161, 96)),  # before any resize (T8)
            dict(type='mmuda.PillowResize', scale=(1280, 760)),
            dict(type='mmuda.Pack'),
        ]),
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.PillowResize', scale=(1280, 760)),
            dict(type='mmuda.Pack'),
        ])))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmuda.LoadLabels'),
        dict(type='mmuda.PillowResize', scale=(1280, 760), labels=False),
        dict(type='PackSegInputs'),
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.PillowResize', scale=(1280, 760), labels=False),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmuda.PillowResize', scale=(960, 570), labels=False),
         dict(type='mmuda.PillowResize', scale=(1280, 760), labels=False),
         dict(type='mmuda.PillowResize', scale=(1600, 950), labels=False)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='PackSegInputs')],
    ]),
]
# No label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmuda.LabelFirewallHook', forbid=dict(target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
