# EHTDI, base variant, GTA5 -> Cityscapes: a source-only start, then the method (EHTDI spec 4 and 5).
#   python tools/train.py configs/ehtdi/gta2city.py --data-root DATA
#   python tools/train.py configs/ehtdi/gta2city.py --data-root DATA --init source=GTA5_source.pth
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101.py', '../_base_/datasets/gta2city.py',
    '../_base_/schedules/poly_250k.py'
]
recipe = [
    dict(type='Train', name='source', config='../baselines/gta2city_source.py'),
    dict(type='Train', name='ehtdi', load_from='source.last'),
]
model = dict(
    type='mmuda.EHTDI',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    # the published numbers are those of the averaged weights; statistics are copied once per pass over the target
    teacher=dict(momentum=0.001, copy_buffers_every=1487),
    evaluate='teacher',
    aux_weight=0.1,
    target_weight=0.1,
    mix_weight=0.1,
    contrast_weight=0.01,
    confidence=0.95,
    # quirks of the reference that its published numbers contain; see the trap table in README.md
    paste_rule='below_pool',  # T1
    back_samples='first',  # T2
    proto_samples='first',  # T3
)
train_dataloader = dict(
    batch_size=2,  # of each domain and on each GPU; published on one GPU (README.md, "Several GPUs")
    sampler=dict(restart_every=2974),  # both loaders start anew after 1487 pairs
    dataset=dict(
        source=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.LoadLabels', same_size=False),  # a label of another size is squashed as well, like the reference
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.PillowResize', scale=(1280, 720)),
            dict(type='mmuda.RandomGaussianBlur', prob=0.5),
            dict(type='mmuda.WeakStrongCrop', size=(512, 512)),
            dict(type='mmuda.DrawKeys', num_classes=19),
            dict(type='mmuda.Pack'),
        ]),
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.PillowResize', scale=(1280, 640)),
            dict(type='mmuda.RandomGaussianBlur', prob=0.5),
            dict(type='mmuda.WeakStrongCrop', size=(512, 512)),
            dict(type='mmuda.Pack'),
        ])))
