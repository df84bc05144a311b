# LDBE, stage 1, label denoising: two rounds of pseudo-labels and one epoch on them (LDBE spec 4.1 to 4.3 and 5.2). No
# source image is read. As a recipe of its own: the paper's row "LD".
_base_ = './gta2city_stage0_source.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_stage0_source.py'),
    *[
        stage
        for before, name, prop, lr in (
            ('source', 'ld1', 0.1, 1e-4),
            ('ld1', 'ld2', 0.1 + 0.05, 1e-4 / 2**0.5),
        )
        for stage in (
            dict(
                type='PseudoLabels', name=f'{name}_labels', checkpoint=f'{before}.last',
                selector=dict(type='GlobalLocal', prop=prop), bn_mode='batch'),
            dict(
                type='Train', name=name, load_from=f'{before}.last', labels=f'{name}_labels',
                options={'optim_wrapper.optimizer.lr': lr}, seed=1234),  # the same in every round (T19)
        )
    ],
]
model = dict(
    type='mmuda.LabelDenoising',
    student=dict(backbone=dict(trainable_affine=('downsample',))),  # T8
    positive_weight=1.0,
    entropy_weight=1.0,
    negative_weight=1.0,
    entropy='double_softmax',  # T10
    entropy_pixels='all',  # T10
)
train_dataloader = dict(
    batch_size=3,
    dataset=dict(
        source=None,
        target=dict(
            _delete_=True,
            type='mmuda.CityscapesDataset',
            data_root={{_base_.data_root}},
            split='train',
            cache=None,
            with_labels=False,
            label_dir=None,  # the recipe puts the round's pseudo-labels here
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='mmuda.ShortSideRandomScaleCrop', short_side=720, ratios=(0.5, 0.75, 1.0, 1.25, 1.5), crop=600),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=991, val_interval=200)  # one epoch: 2975 images in threes
# The horizon is 5000 although a round has 991 iterations: the learning rate falls to 0.82 of its start.
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=5001, by_epoch=False)]
optim_wrapper = dict(optimizer=dict(lr=1e-4))
# Nothing of the source and no label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(
            source=[f'{_base_.data_root}/GTA5', f'{_base_.data_root}/SYNTHIA'],
            target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
