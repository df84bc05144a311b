# DeepLab-v2 on a ResNet-101 of Caffe layout, output stride 8, two summed ASPP heads (EHTDI spec 3.1).
# Start weights: DeepLab_resnet_pretrained_init-f81d91e8.pth, imported by tools/convert_checkpoint.py, as
# model.student.init_cfg=dict(type='Pretrained', checkpoint=FILE).
data_preprocessor = dict(
    type='mmuda.DomainDataPreprocessor',
    mean=[104.00698793, 116.66876762, 122.67891434],  # BGR, as the image is read
    std=[1.0, 1.0, 1.0],
    size_divisor=1,
)
student = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='mmuda.CeilResNet',
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=False,
        style='caffe',
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        trainable_affine=('layer',),
    ),
    decode_head=dict(
        type='mmuda.SummedASPPHead',
        in_channels=2048,
        in_index=3,
        dilations=(6, 12, 18, 24),
        active_branches=2,  # the reference returns after the first addition (T6); checkpoints hold all four
        num_classes=19,
        align_corners=True,
    ),
    auxiliary_head=dict(
        type='mmuda.SummedASPPHead',
        in_channels=1024,
        in_index=2,
        dilations=(6, 12, 18, 24),
        active_branches=2,
        num_classes=19,
        align_corners=True,
    ),
    test_cfg=dict(mode='whole'),
)
