# LDBE on MiniCity: the paper's losses and flow on the network and optimiser of all MiniCity configs.
_base_ = './minicity_stage1_ld.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    *[
        stage
        for before, name, config, prop, carry in (
            ('source', 'ld1', 'minicity_stage1_ld.py', 0.2, []),
            ('ld1', 'ld2', 'minicity_stage1_ld.py', 0.25, []),
            ('ld2', 'be1', 'minicity.py', 0.2, []),
            ('be1', 'be2', 'minicity.py', 0.25, ['teacher']),
        )
        for stage in (
            dict(
                type='PseudoLabels', name=f'{name}_labels', config=config, checkpoint=f'{before}.last',
                selector=dict(type='GlobalLocal', prop=prop), bn_mode='batch'),
            dict(
                type='Train', name=name, config=config, load_from=f'{before}.last', labels=f'{name}_labels',
                carry=carry),
        )
    ],
]
model = dict(
    type='mmuda.BoundaryEnhancement', teacher=dict(momentum=0.01, warm_up=True, copy_buffers_every=None, mode='train')
)
train_dataloader = dict(
    dataset=dict(
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.LoadLabels'),
            dict(type='mmuda.ShortSideRandomScaleCrop', short_side=128, ratios=(0.5, 0.75, 1.0, 1.25, 1.5), crop=104),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.DrawKeys', num_classes=19),
            dict(type='mmuda.Pack'),
        ])))
