# Depth Distribution's adaptation on MiniCity. The source shows the scenes of the other rows in SYNTHIA's layout, which has
# depth; its classes' mixtures are fitted first. The two further heads start from their own initial weights.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/minicity.py', '../_base_/datasets/minicity.py',
    '../_base_/schedules/minicity_adversarial.py'
]
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(
        type='FitDensity', name='density', config='minicity_stage1_uda.py', components=5,
        floor=[1 / 12, 1 / 12, 1.0]),  # T6: a sky that a regressed depth can meet
    dict(type='Train', name='uda', config='minicity_stage1_uda.py', load_from='source.last', mixtures='density'),
]
minicity = dict(layouts=['gta5', 'cityscapes', 'synthia'])
model = dict(
    type='mmuda.DepthDistribution',
    data_preprocessor={{_base_.data_preprocessor}},
    student=dict(
        _base_.student,
        type='mmuda.DensityDepthSegmentor',
        density_head=dict(in_channels=128, mid_channels=64, out_channels=32),
        depth_head=dict(in_channels=128, mid_channels=64, out_channels=32)),
    mixtures=None,  # the recipe puts them here
    density_scale=1e4,  # on these few cells; that of the source's true classes is then 190 in the median, not 255
    off_class_density=False,  # T5: where the prediction is wrong there is none, as on the target
    adv_input='seg_density',
    discriminator=dict(type='mmuda.FCDiscriminator', base_channels=16),
    gan_loss='bce',
    source_balance_weight=0.0001,
    depth_weight=0.001,
    adv_weight=0.001,
    target_balance_weight=0.0001,
    disc_weight=1.0,
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
                dict(type='mmuda.GridSample', size=(33, 17)),  # no flip: the mixtures know left from right
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ]),
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='mmuda.RandomGaussianBlur', prob=0.5),
            dict(type='mmuda.Pack'),
        ])))
# No label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmuda.LabelFirewallHook', forbid=dict(target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
