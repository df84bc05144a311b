# AdvEnt, GTA5 -> Cityscapes, from ImageNet weights: network, losses and optimisers as the DAF+IDA spec has them of AdvEnt's
# code (2.4, 3, 4), length and horizon those of IDA, which is that code's loop (5.3). Single-level: the specs describe no
# discriminator on an auxiliary head.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101_one_head.py', '../_base_/datasets/gta2city.py',
    '../_base_/schedules/adversarial_90k.py'
]
recipe = [dict(type='Train', name='advent')]
model = dict(
    type='mmuda.Adversarial',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    resize_once=True,
    discriminator=dict(type='mmuda.FCDiscriminator'),
    disc_input='self_information',
    gan_loss='bce',
    adv_weight=0.001,
    disc_weight=0.5,
)
train_dataloader = dict(
    batch_size=1,
    dataset=dict(
        source=dict(
            split=None,  # all 24966 images
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', same_size=False),  # labels of another size are squashed as well
                dict(type='mmuda.PillowResize', scale=(1280, 720)),
                dict(type='mmuda.Pack'),
            ]),
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.PillowResize', scale=(1024, 512)),
            dict(type='mmuda.Pack'),
        ])))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmuda.LoadLabels'),
        dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),  # scored at 1024x2048
        dict(type='PackSegInputs'),
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),
    dict(type='PackSegInputs'),
]
train_cfg = dict(max_iters=120000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=250001, by_epoch=False)]
