# MiniCity: minutes on a CPU. The optimiser is that of the papers with a step made for a small network from scratch.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=800, val_interval=400)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=801, by_epoch=False)]
optim_wrapper = dict(
    constructor='mmuda.NetworkOptimConstructor',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(rules=[dict(match=r'(decode|auxiliary)_head\.', lr_mult=2)]))
