# EHTDI on your own data, whose paths and classes are in data.py; the paper's settings, sound choices where the reference has
# a slip (configs/ehtdi/README.md, T1-T3).
#   python tools/check_dataset.py configs/your_data/ehtdi.py --data-root DATA
#   python tools/train.py configs/your_data/ehtdi.py --data-root DATA
_base_ = './base.py'
recipe = [
    dict(type='Train', name='source', config='source.py'),
    dict(type='Train', name='ehtdi', load_from='source.last'),
]
model = dict(
    type='mmuda.EHTDI',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    teacher=dict(momentum=0.001, copy_buffers_every=1487),
    evaluate='teacher',
    paste_above=-1,  # any class may be pasted; N: only those after the first N + 1 of data.py
)
train_dataloader = dict(
    dataset=dict(
        source=dict(pipeline=[
            *_base_.train_dataloader.dataset.source.pipeline[:-1],
            dict(type='mmuda.WeakStrongCrop', size=(512, 512)),
            dict(type='mmuda.DrawKeys', num_classes=len(_base_.ids)),
            dict(type='mmuda.Pack'),
        ]),
        target=dict(pipeline=[
            *_base_.train_dataloader.dataset.target.pipeline[:-1],
            dict(type='mmuda.WeakStrongCrop', size=(512, 512)),
            dict(type='mmuda.Pack'),
        ])))
