# DAF, SYNTHIA -> Mapillary Vistas, 7 classes, 640x320: as on 16 classes; the reference has configs for those only
# (DAF+IDA spec 12).
#   python tools/train.py configs/daf_ida/synthia2mapillary_7_small_stage1_daf.py --data-root DATA --cfg-options \
#       model.student.init_cfg.type=Pretrained model.student.init_cfg.checkpoint=IMAGENET.pth
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101_depth.py',
    '../_base_/datasets/synthia2mapillary_7_small.py', '../_base_/schedules/adversarial_90k.py'
]
recipe = [dict(type='Train', name='daf', config='synthia2mapillary_7_small_stage1_daf.py')]
model = dict(
    type='mmuda.DAF',
    data_preprocessor={{_base_.data_preprocessor}},
    student=dict(_base_.student, decode_head=dict(_base_.student.decode_head, num_classes=7)),
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
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(target_labels=[f'{_base_.data_root}/mapillary/{folder}/labels' for folder in ('training', 'train')])),
]
