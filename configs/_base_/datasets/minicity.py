# MiniCity in GTA5 (source) and Cityscapes (target) layout at its own size. It is made when absent; --data-root or MMUDA_DATA
# names another folder, and then minicity.seed and minicity.shift may name another city and another shift.
data_root = '{{$MMUDA_DATA:data/minicity}}'
minicity = dict(
    root=data_root, seed=0, shift='medium', size=(128, 256), source=300, target_train=300, target_val=60)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='mmuda.DrawSampler'),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmuda.SourceTargetDataset',
        source=dict(
            type='mmuda.GTA5Dataset',
            data_root=data_root,
            split='train',
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ]),
        target=dict(
            type='mmuda.CityscapesDataset',
            data_root=data_root,
            split='train',
            with_labels=False,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmuda.CityscapesDataset',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmuda.LoadLabels'),
            dict(type='mmuda.PillowResize', scale=(256, 128), labels=True),
            dict(type='PackSegInputs'),
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmuda.SubsetIoUMetric')
test_evaluator = val_evaluator
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.PillowResize', scale=(256, 128), labels=False),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmuda.LoadLabels'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmuda.PillowResize', scale=(192, 96), labels=False),
         dict(type='mmuda.PillowResize', scale=(256, 128), labels=False),
         dict(type='mmuda.PillowResize', scale=(320, 160), labels=False)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='PackSegInputs')],
    ]),
]
