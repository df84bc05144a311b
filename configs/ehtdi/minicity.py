# EHTDI on MiniCity: the paper's losses and flow; sound choices where the reference has a slip (README.md, T1-T3).
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/minicity.py', '../_base_/datasets/minicity.py',
    '../_base_/schedules/minicity.py'
]
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='ehtdi', load_from='source.last'),
]
model = dict(
    type='mmuda.EHTDI',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    teacher=dict(momentum=0.01, copy_buffers_every=1),
    evaluate='teacher',
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        source=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.LoadLabels'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.RandomGaussianBlur', prob=0.5),
            dict(type='mmuda.WeakStrongCrop', size=(96, 96)),
            dict(type='mmuda.DrawKeys', num_classes=19),
            dict(type='mmuda.Pack'),
        ]),
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.RandomGaussianBlur', prob=0.5),
            dict(type='mmuda.WeakStrongCrop', size=(96, 96)),
            dict(type='mmuda.Pack'),
        ])))
