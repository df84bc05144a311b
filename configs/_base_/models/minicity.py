# The one network of every MiniCity config: a four-stage ResNet of one block per stage at stride 8, trained from scratch,
# with the summed ASPP heads of DeepLab-v2's configs (dilations for a map of 16 x 32).
data_preprocessor = dict(
    type='mmuda.DomainDataPreprocessor',
    mean=[104.00698793, 116.66876762, 122.67891434],
    std=[58.0, 58.0, 58.0],
    size_divisor=1,
)
student = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='mmuda.CeilResNet',
        depth=10,
        num_stages=4,
        base_channels=16,
        stem_channels=16,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=False,
        style='caffe',
        norm_cfg=dict(type='BN', momentum=0.02, requires_grad=True),  # statistics of 50 small batches, not of 10
        norm_eval=False,
        trainable_affine=('bn1', 'layer'),
        init_cfg=[dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', layer='_BatchNorm', val=1)],
    ),
    decode_head=dict(
        type='mmuda.SummedASPPHead',
        in_channels=128,
        in_index=3,
        dilations=(1, 4),
        active_branches=2,
        num_classes=19,
        align_corners=True,
    ),
    auxiliary_head=dict(
        type='mmuda.SummedASPPHead',
        in_channels=64,
        in_index=2,
        dilations=(1, 4),
        active_branches=2,
        num_classes=19,
        align_corners=True,
    ),
    test_cfg=dict(mode='whole'),
)
