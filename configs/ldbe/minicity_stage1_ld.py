# LDBE's label denoising on MiniCity. As a recipe of its own: the row "LD".
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/minicity.py', '../_base_/datasets/minicity.py',
    '../_base_/schedules/minicity.py'
]
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(
        type='PseudoLabels', name='ld_labels', config='minicity_stage1_ld.py', checkpoint='source.last',
        selector=dict(type='GlobalLocal', prop=0.5), bn_mode='batch'),
    dict(
        type='Train', name='ld', config='minicity_stage1_ld.py', load_from='source.last', labels='ld_labels'),
]
model = dict(
    type='mmuda.LabelDenoising',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
)
train_dataloader = dict(
    batch_size=3,
    dataset=dict(
        source=None,
        target=dict(
            label_dir=None,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='mmuda.ShortSideRandomScaleCrop', short_side=128, ratios=(0.5, 0.75, 1.0, 1.25, 1.5), crop=104),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=300, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1201, by_epoch=False)]
optim_wrapper = dict(optimizer=dict(lr=1e-4))  # of a network that is trained already
# Nothing of the source and no label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(source=[f'{_base_.data_root}/GTA5'], target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
