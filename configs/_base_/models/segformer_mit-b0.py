# Stock SegFormer with MiT-B0, in place of another network: a config that has this file as its second base sets
# model={{_base_.segformer}}. Start weights: model.student.backbone.init_cfg=dict(type='Pretrained', checkpoint=FILE).
segformer = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='mmuda.DomainDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=1,
    ),
    student=dict(
        _delete_=True,
        type='EncoderDecoder',
        backbone=dict(
            type='MixVisionTransformer',
            embed_dims=32,
            num_layers=[2, 2, 2, 2],
            num_heads=[1, 2, 5, 8],
            patch_sizes=[7, 3, 3, 3],
            sr_ratios=[8, 4, 2, 1],
            mlp_ratio=4,  # and drop_path_rate=0: with SegFormer's 0.1 a short training from scratch ends lower
        ),
        decode_head=dict(
            type='SegformerHead',
            in_channels=[32, 64, 160, 256],
            in_index=[0, 1, 2, 3],
            channels=256,
            dropout_ratio=0.1,
            num_classes=19,
            norm_cfg=dict(type='BN', requires_grad=True),
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),  # not used: a method has its own losses
        ),
        test_cfg=dict(mode='whole'),
    ),
)
