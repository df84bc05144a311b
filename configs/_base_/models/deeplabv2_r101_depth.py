# DeepLab-v2 with DAF's depth branch, which gates the features that the head reads (DAF+IDA spec 3).
_base_ = './deeplabv2_r101_one_head.py'
student = dict(
    neck=dict(type='mmuda.DepthGuide', in_channels=(256, 512, 1024, 2048), depth_size=(228, 304)),
    decode_head=dict(num_classes=16),
)
