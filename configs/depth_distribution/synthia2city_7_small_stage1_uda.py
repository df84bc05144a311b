# Depth Distribution's adaptation, SYNTHIA -> Cityscapes, 7 classes, both domains at 640x320 (experiment 3).
_base_ = './synthia2city_7_stage1_uda.py'
recipe = [dict(type='Train', name='uda', config='synthia2city_7_small_stage1_uda.py', carry=['discriminator'])]
model = dict(mixtures='7_small', depth_weight=0.001)
train_dataloader = dict(
    dataset=dict(
        source=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.LoadLabels'),
            dict(type='mmuda.LoadDepth'),
            dict(type='mmuda.GridSample', size=(81, 41)),  # of the files' own 1280x760 pixels
            dict(type='mmuda.PillowResize', scale=(640, 320)),
            dict(type='mmuda.Pack'),
        ]),
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.PillowResize', scale=(640, 320)),
            dict(type='mmuda.Pack'),
        ])))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmuda.LoadLabels'),
        dict(type='mmuda.PillowResize', scale=(640, 320), labels=False),
        dict(type='PackSegInputs'),
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.PillowResize', scale=(640, 320), labels=False),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmuda.PillowResize', scale=(480, 240), labels=False),
         dict(type='mmuda.PillowResize', scale=(640, 320), labels=False),
         dict(type='mmuda.PillowResize', scale=(800, 400), labels=False)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='PackSegInputs')],
    ]),
]
