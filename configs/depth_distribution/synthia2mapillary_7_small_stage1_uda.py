# Depth Distribution's adaptation, SYNTHIA -> Mapillary Vistas, 7 classes, 640x320 (experiment 5): that of experiment 4 at
# the size, and with the mixtures, of experiment 3.
_base_ = './synthia2mapillary_7_stage1_uda.py'
recipe = [dict(type='Train', name='uda', config='synthia2mapillary_7_small_stage1_uda.py', carry=['discriminator'])]
model = dict(mixtures='7_small')
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
            dict(step, scale=(640, 320)) if step.type == 'mmuda.FitPad' else step
            for step in _base_.train_dataloader.dataset.target.pipeline
        ])))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(step, scale=(640, 320)) if step.type == 'mmuda.FitPad' else step for step in _base_.val_dataloader.dataset.pipeline
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(step, scale=(640, 320)) if step.type == 'mmuda.FitPad' else step for step in _base_.test_pipeline
]
tta_pipeline = [
    *_base_.tta_pipeline[:-1],
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],  # before the padding, which is at the right
        [dict(type='mmuda.FitPad', scale=(480, 240), labels=False), dict(type='mmuda.FitPad', scale=(640, 320), labels=False),
         dict(type='mmuda.FitPad', scale=(800, 400), labels=False)],
        [_base_.pack],
    ]),
]
