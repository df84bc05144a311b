# AdvEnt, SYNTHIA -> Cityscapes with their 16 common classes, from ImageNet weights: DAF's setting (DAF+IDA spec 2.4 and 5.0)
# without its depth, discriminator terms of half weight. Single-level, as gta2city_advent.py.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101_one_head.py',
    '../_base_/datasets/synthia2city_depth_16.py', '../_base_/schedules/adversarial_90k.py'
]
recipe = [dict(type='Train', name='advent')]
model = dict(
    type='mmuda.Adversarial',
    data_preprocessor={{_base_.data_preprocessor}},
    student=dict(_base_.student, decode_head=dict(_base_.student.decode_head, num_classes=16)),
    resize_once=True,
    discriminator=dict(type='mmuda.FCDiscriminator'),
    disc_input='self_information',
    gan_loss='bce',
    adv_weight=0.001,
    disc_weight=0.5,
)
train_dataloader = dict(
    dataset=dict(
        source=dict(
            with_depth=False,
            pipeline=[step for step in _base_.train_dataloader.dataset.source.pipeline if step.type != 'mmuda.LoadDepth'])))
