# DeepLab-v2 on torchvision's ResNet-101, output stride 8, one head of four summed branches (HIAST spec 3.1).
# Start weights: torchvision's resnet101-5d3b4d8f.pth as model.student.backbone.init_cfg=dict(type='Pretrained', checkpoint=FILE).
data_preprocessor = dict(
    type='mmuda.DomainDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size_divisor=1,
)
student = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNet',
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        style='pytorch',
        norm_cfg=dict(type='SyncBN', requires_grad=True),  # over all GPUs; on one, plain batch norm
        norm_eval=False,
    ),
    decode_head=dict(
        type='mmuda.SummedASPPHead',
        in_channels=2048,
        in_index=3,
        dilations=(6, 12, 18, 24),
        active_branches=4,
        num_classes=19,
        align_corners=True,
    ),
    test_cfg=dict(mode='whole'),
)
