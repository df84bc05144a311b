# Source-only on your own data: the start of ehtdi.py.
_base_ = './base.py'
recipe = [dict(type='Train', name='source')]
model = dict(
    type='mmuda.Supervised',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
)
train_dataloader = dict(batch_size=1, dataset=dict(target=None))
train_cfg = dict(max_iters=80000, val_interval=5000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80001, by_epoch=False)]
