# A student and a discriminator for 90000 iterations, poly 0.9 to zero for both (Depth Distribution spec 5.1). All of the
# student's parameters share one learning rate (T13).
train_cfg = dict(type='IterBasedTrainLoop', max_iters=90000, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# MMEngine divides by end - 1; a shortened run sets `end` along with max_iters.
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=90001, by_epoch=False)]
optim_wrapper = dict(
    constructor='mmuda.NetworkOptimConstructor',
    student=dict(optimizer=dict(type='SGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4, fused=True)),
    discriminator=dict(optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.99), fused=True)))
