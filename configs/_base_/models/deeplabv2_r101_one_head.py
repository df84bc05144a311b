# DeepLab-v2 as CCM and LDBE have it (LDBE spec 3): one head, all four branches summed, and weight and bias of the batch
# norms as the start file has them, but for those that a config lets train.
_base_ = './deeplabv2_r101.py'
student = dict(
    backbone=dict(trainable_affine=()),
    decode_head=dict(active_branches=4),
    auxiliary_head=None,
)
