# DAF on MiniCity. The source shows the scenes of the other rows in SYNTHIA's layout, which has depth; the depth branch
# starts from its own initial weights.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/minicity.py', '../_base_/datasets/minicity.py',
    '../_base_/schedules/minicity_adversarial.py'
]
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='daf', config='minicity_stage1_daf.py', load_from='source.last'),
]
minicity = dict(layouts=['gta5', 'cityscapes', 'synthia', 'cityscapes_depth'])  # the last one for `tools/test.py --depth`
model = dict(
    type='mmuda.DAF',
    data_preprocessor={{_base_.data_preprocessor}},
    student=dict(
        _base_.student,
        neck=dict(
            type='mmuda.DepthGuide',
            in_channels=(16, 32, 64, 128),
            depth_size=None,
            norm_cfg=dict(type='BN', momentum=0.02),
        )),
    discriminator=dict(type='mmuda.FCDiscriminator', base_channels=16),
    adv_weight=0.001,
    depth_weight=0.001,
    source_depth_power=1,
    target_depth_power=1,  # trap 2: once on both sides, as in the paper's figure
)
train_dataloader = dict(
    dataset=dict(
        source=dict(
            type='mmuda.SYNTHIADataset',
            split=None,
            with_depth=True,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='mmuda.LoadDepth'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
# No label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmuda.LabelFirewallHook', forbid=dict(target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
