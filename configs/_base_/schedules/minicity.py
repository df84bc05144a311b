# MiniCity: minutes on a CPU. AdamW takes a small network from scratch to useful weights in 1200 steps; it stands in for
# the papers' ImageNet start and SGD. Every row of the benchmark uses it.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1200, val_interval=600)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1201, by_epoch=False)]
optim_wrapper = dict(
    constructor='mmuda.NetworkOptimConstructor',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01),
    paramwise_cfg=dict(rules=[]))
