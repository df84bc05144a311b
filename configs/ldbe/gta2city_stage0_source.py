# LDBE's source-only stage, as CCM's code has it (LDBE spec 5.1): the only stage that sees GTA5. The source-free stages'
# configs derive from this one, which holds what they share: network, sizes, scoring, optimiser.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101_one_head.py', '../_base_/datasets/gta2city.py'
]
recipe = [dict(type='Train', name='source')]
model = dict(
    type='mmuda.Supervised',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        source=dict(
            split=None,  # all 24966 images
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', same_size=False),  # labels of another size are scaled as well, like the reference
                dict(type='mmuda.ShortSideRandomScaleCrop', short_side=720, ratios=(0.5, 0.75, 1.0, 1.25, 1.5), crop=600),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.Pack'),
            ]),
        target=None))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmuda.LoadLabels'),
        dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),  # scored at 1024x2048, as published
        dict(type='PackSegInputs'),
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmuda.PillowResize', scale=(768, 384), labels=False), dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),
         dict(type='mmuda.PillowResize', scale=(1280, 640), labels=False)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='PackSegInputs')],
    ]),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=5000, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# The reference counts this stage's iterations from 1, so the last step has lr 0; MMEngine divides by end - 1.
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=5000, by_epoch=False)]
optim_wrapper = dict(
    constructor='mmuda.NetworkOptimConstructor',
    optimizer=dict(type='SGD', lr=7.5e-5 * (4999 / 5000) ** 0.9, momentum=0.9, weight_decay=5e-4),
    # The reference lists parameters 3 or 4 times: in the steady state that many times the learning rate (T9). Its exact
    # steps: optimizer.type='mmuda.RepeatedSGD' with repeat= in place of lr_mult= in the first two rules.
    paramwise_cfg=dict(rules=[
        dict(match=r'backbone\.layer\d+\.\d+\.downsample\.', lr_mult=4),
        dict(match=r'backbone\.layer\d+\.', lr_mult=3),
        dict(match=r'decode_head\.', lr_mult=10),
    ]))
