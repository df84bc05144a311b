# EHTDI spec 5: 250001 iterations, validation every 1487 (one pass over 2975 target images in pairs), poly 0.9 to zero.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=250001, val_interval=1487)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# MMEngine divides by end - 1; a shortened run sets `end` along with max_iters.
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=250001, by_epoch=False)]
# The reference lists parameters several times, so that its SGD steps several times with one gradient (T4).
optim_wrapper = dict(
    constructor='mmuda.NetworkOptimConstructor',
    optimizer=dict(type='mmuda.RepeatedSGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(rules=[
        dict(match=r'backbone\.layer\d+\.\d+\.downsample\.', repeat=4),
        dict(match=r'backbone\.layer\d+\.', repeat=3),
        dict(match=r'(decode|auxiliary)_head\.', lr_mult=10),
    ]))
