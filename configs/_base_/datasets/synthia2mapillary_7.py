# SYNTHIA with depth -> Mapillary Vistas, 7 classes; its images have many sizes and are fitted into one (DAF+IDA spec 2.4).
# The data root holds SYNTHIA/ and mapillary/.
_base_ = './synthia2city_7.py'
train_dataloader = dict(
    dataset=dict(
        target=dict(type='mmuda.MapillaryDataset', pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.FitPad', scale=(1024, 768)),
            dict(type='mmuda.LoadLabels'),  # pseudo-labels, which have the network's size; before them there are none
            dict(type='mmuda.Pack'),
        ])))
# FitPad's pad_shape and padding_size have mmseg interpolate to the padded label size, then crop (spec 1)
pack = dict(
    type='PackSegInputs',
    meta_keys=('img_path', 'ori_shape', 'img_shape', 'pad_shape', 'padding_size', 'flip', 'flip_direction'))
val_dataloader = dict(
    dataset=dict(type='mmuda.MapillaryDataset', pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmuda.LoadLabels'),
        dict(type='mmuda.FitPad', scale=(1024, 768), labels=False),
        pack,
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.FitPad', scale=(1024, 768), labels=False),
    pack,
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],  # before the padding, which is at the right
        [dict(type='mmuda.FitPad', scale=(768, 576), labels=False), dict(type='mmuda.FitPad', scale=(1024, 768), labels=False),
         dict(type='mmuda.FitPad', scale=(1280, 960), labels=False)],
        [pack],
    ]),
]
