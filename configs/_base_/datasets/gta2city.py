# GTA5 (labelled source) -> Cityscapes (unlabelled target), 19 classes, loaded as EHTDI does: images squeezed to one size
# per domain with Pillow's filters (EHTDI spec 2.3). A paper that loads otherwise sets its own pipelines.
# `data` is the folder that holds GTA5/ and cityscapes/; --data-root or MMUDA_DATA names another.
data_root = '{{$MMUDA_DATA:data}}'
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='mmuda.DrawSampler'),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmuda.SourceTargetDataset',
        source=dict(
            type='mmuda.GTA5Dataset',
            data_root=data_root,
            split='train',
            cache=None,  # a folder of decoded images: docs/cache.md
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', same_size=False),  # a label of another size is squashed as well, like the reference
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.PillowResize', scale=(1280, 720)),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ]),
        target=dict(
            type='mmuda.CityscapesDataset',
            data_root=data_root,
            split='train',
            cache=None,
            with_labels=False,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.PillowResize', scale=(1280, 640)),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
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
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmuda.LoadLabels'),
            # labels=True: scored at 640x1280 as published; `tools/test.py --score-at labels` scores at label resolution
            dict(type='mmuda.PillowResize', scale=(1280, 640), labels=True),
            dict(type='PackSegInputs'),
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmuda.SubsetIoUMetric')
test_evaluator = val_evaluator
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.PillowResize', scale=(1280, 640), labels=False),
    dict(type='PackSegInputs'),
]
tta_pipeline = [  # scored at label resolution
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmuda.PillowResize', scale=(960, 480), labels=False), dict(type='mmuda.PillowResize', scale=(1280, 640), labels=False),
         dict(type='mmuda.PillowResize', scale=(1600, 800), labels=False)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='PackSegInputs')],
    ]),
]
