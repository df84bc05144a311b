# SYNTHIA with depth (labelled source) -> Cityscapes (unlabelled target), 16 classes, loaded as the depth papers do: one image
# per domain, no augmentation, scored at label resolution (DAF+IDA spec 1 and 2.4). A paper with other sizes sets its pipelines.
# `data` is the folder that holds SYNTHIA/ and cityscapes/; --data-root or MMUDA_DATA names another.
data_root = '{{$MMUDA_DATA:data}}'
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='mmuda.DrawSampler'),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmuda.SourceTargetDataset',
        source=dict(
            type='mmuda.SYNTHIADataset',
            data_root=data_root,
            split=None,  # all 9400 images
            cache=None,  # a folder of decoded images: docs/cache.md
            classes=16,
            with_depth=True,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='mmuda.LoadDepth'),
                dict(type='mmuda.PillowResize', scale=(1280, 760)),
                dict(type='mmuda.Pack'),
            ]),
        target=dict(
            type='mmuda.CityscapesDataset',
            data_root=data_root,
            split='train',
            cache=None,
            classes=16,
            with_labels=False,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.PillowResize', scale=(1024, 512)),
                dict(type='mmuda.LoadLabels'),  # pseudo-labels, which have the network's size; before them there are none
                dict(type='mmuda.Pack'),
            ])))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmuda.CityscapesDataset',
        data_root=data_root,
        split='val',
        classes=16,
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmuda.LoadLabels'),
            dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),
            dict(type='PackSegInputs'),
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmuda.SubsetIoUMetric')
test_evaluator = val_evaluator
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmuda.PillowResize', scale=(768, 384), labels=False),
         dict(type='mmuda.PillowResize', scale=(1024, 512), labels=False),
         dict(type='mmuda.PillowResize', scale=(1280, 640), labels=False)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='PackSegInputs')],
    ]),
]
