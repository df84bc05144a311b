# DeepLab-v2 with a density and a depth head on the features that the classifier reads (Depth Distribution spec 3.1).
_base_ = './deeplabv2_r101_one_head.py'
student = dict(
    type='mmuda.DensityDepthSegmentor',
    density_head=dict(in_channels=2048, mid_channels=512, out_channels=128),
    depth_head=dict(in_channels=2048, mid_channels=512, out_channels=128),
    decode_head=dict(num_classes=16),
)
