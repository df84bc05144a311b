# Source-only on GTA5, also the published start of EHTDI (EHTDI spec 3.3): batch 1, cross entropy of the main head only, poly over 200000
# iterations stopped at 80000; the last weights are used.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101.py', '../_base_/datasets/gta2city.py',
    '../_base_/schedules/poly_250k.py'
]
recipe = [dict(type='Train', name='source')]
model = dict(
    type='mmuda.Supervised',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
)
train_dataloader = dict(batch_size=1, sampler=dict(restart_every=5000), dataset=dict(target=None))
train_cfg = dict(max_iters=80000, val_interval=5000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=200001, by_epoch=False)]
