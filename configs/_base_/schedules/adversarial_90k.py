# A student and a discriminator for iterations 0 to 90000, poly 0.9 to zero for both (DAF+IDA spec 5.0).
train_cfg = dict(type='IterBasedTrainLoop', max_iters=90001, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# MMEngine divides by end - 1; a shortened run sets `end` along with max_iters.
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=90001, by_epoch=False)]
# The reference lists parameters 3 or 4 times, so that its SGD steps as often with one gradient (DAF+IDA spec 3.6). Without
# that: repeat=1 in the first two rules.
optim_wrapper = dict(
    constructor='mmuda.NetworkOptimConstructor',
    student=dict(
        optimizer=dict(
            type='mmuda.RepeatedSGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4, carry_first_step=True),
        paramwise_cfg=dict(rules=[
            dict(match=r'backbone\.layer\d+\.\d+\.downsample\.', repeat=4),
            dict(match=r'backbone\.layer\d+\.', repeat=3),
            dict(match=r'(decode_head|neck)\.', lr_mult=10),
        ])),
    discriminator=dict(optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99))))
