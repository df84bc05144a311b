# LDBE, GTA5 -> Cityscapes without the source's images: a source-only start, then two rounds each of label denoising and of
# boundary enhancement (LDBE spec 4 and 5).
#   python tools/train.py configs/ldbe/gta2city.py --data-root DATA
#   python tools/train.py configs/ldbe/gta2city.py --data-root DATA --init source=gta5_source.pth
_base_ = './gta2city_stage1_ld.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_stage0_source.py'),
    *[
        stage
        for before, name, config, prop, lr, carry in (
            ('source', 'ld1', 'gta2city_stage1_ld.py', 0.1, 1e-4, []),
            ('ld1', 'ld2', 'gta2city_stage1_ld.py', 0.1 + 0.05, 1e-4 / 2**0.5, []),
            ('ld2', 'be1', 'gta2city.py', 0.1, 1e-4, []),
            ('be1', 'be2', 'gta2city.py', 0.1 + 0.05, 1e-4 / 2**0.5, ['teacher']),  # T20
        )
        for stage in (
            dict(
                type='PseudoLabels', name=f'{name}_labels', config=config, checkpoint=f'{before}.last',
                selector=dict(type='GlobalLocal', prop=prop), bn_mode='batch'),
            dict(
                type='Train', name=name, config=config, load_from=f'{before}.last', labels=f'{name}_labels', carry=carry,
                options={'optim_wrapper.optimizer.lr': lr}, seed=1234),  # the same in every round (T19)
        )
    ],
]
model = dict(
    _delete_=True,
    type='mmuda.BoundaryEnhancement',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.model.student}},
    # the mean of up to 100 students, in train mode and with statistics of its own; the student is evaluated
    teacher=dict(momentum=0.01, warm_up=True, copy_buffers_every=None, mode='train'),
    confidence=0.97,
)
train_dataloader = dict(
    dataset=dict(
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.LoadLabels'),
            dict(type='mmuda.ShortSideRandomScaleCrop', short_side=720, ratios=(0.5, 0.75, 1.0, 1.25, 1.5), crop=600),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.DrawKeys', num_classes=19),
            dict(type='mmuda.Pack'),
        ])))
