# DAF, SYNTHIA -> Cityscapes, 16 classes, from ImageNet weights (DAF+IDA spec 5.0): 90001 iterations of one image per
# domain.
#   python tools/train.py configs/daf_ida/synthia2city_16_stage1_daf.py --data-root DATA --cfg-options \
#       model.student.init_cfg.type=Pretrained model.student.init_cfg.checkpoint=IMAGENET.pth
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101_depth.py',
    '../_base_/datasets/synthia2city_depth_16.py', '../_base_/schedules/adversarial_90k.py'
]
recipe = [dict(type='Train', name='daf', config='synthia2city_16_stage1_daf.py')]
model = dict(
    type='mmuda.DAF',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    resize_once=True,  # T9
    discriminator=dict(type='mmuda.FCDiscriminator'),
    gan_loss='bce',
    adv_weight=0.001,
    disc_weight=1.0,  # T23
    depth_weight=0.001,
    source_depth_power=1,
    target_depth_power=2,  # T2
)
# No label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmuda.LabelFirewallHook', forbid=dict(target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
