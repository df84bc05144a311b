# LDBE on MiniCity, one round of each stage: the paper's losses and flow on the network and optimiser of all MiniCity configs.
_base_ = './minicity_stage1_ld.py'
recipe = [
    *_base_.recipe,
    dict(
        type='PseudoLabels', name='be_labels', checkpoint='ld.last', selector=dict(type='GlobalLocal', prop=0.5),
        bn_mode='batch'),
    dict(type='Train', name='be', load_from='ld.last', labels='be_labels'),
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
optim_wrapper = dict(optimizer=dict(lr=3e-5))
