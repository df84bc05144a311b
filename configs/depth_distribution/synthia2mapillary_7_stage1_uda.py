# Depth Distribution's adaptation, SYNTHIA -> Mapillary Vistas, 7 classes, 1280x760 (experiment 4). Target images of many
# sizes are fitted into one; scored there, too, padding aside (T9): --score-at labels scores at the labels' own size.
_base_ = './synthia2city_7_stage1_uda.py'
recipe = [dict(type='Train', name='uda', config='synthia2mapillary_7_stage1_uda.py', carry=['discriminator'])]
model = dict(
    class_weight=None,
    source_balance_weight=0.005,
    depth_weight=0.0001,
    adv_weight=0.001,
    target_balance_weight=0.001,
)
optim_wrapper = dict(discriminator=dict(optimizer=dict(lr=1e-4)))
train_dataloader = dict(
    dataset=dict(
        target=dict(type='mmuda.MapillaryDataset', pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.FitPad', scale=(1280, 760)),
            dict(type='mmuda.Pack'),
        ])))
pack = dict(
    type='PackSegInputs',
    meta_keys=('img_path', 'ori_shape', 'img_shape', 'pad_shape', 'padding_size', 'flip', 'flip_direction'))
val_dataloader = dict(
    dataset=dict(type='mmuda.MapillaryDataset', pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmuda.LoadLabels'),
        dict(type='mmuda.FitPad', scale=(1280, 760), labels=True),
        pack,
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.FitPad', scale=(1280, 760), labels=False),
    pack,
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],  # before the padding, which is at the right
        [dict(type='mmuda.FitPad', scale=(960, 570), labels=False), dict(type='mmuda.FitPad', scale=(1280, 760), labels=False),
         dict(type='mmuda.FitPad', scale=(1600, 950), labels=False)],
        [pack],
    ]),
]
# No label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(target_labels=[f'{_base_.data_root}/mapillary/{folder}/labels' for folder in ('training', 'train')])),
]
