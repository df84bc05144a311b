# Source-only on MiniCity: the start of every method there.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/minicity.py', '../_base_/datasets/minicity.py',
    '../_base_/schedules/minicity.py'
]
recipe = [dict(type='Train', name='source')]
model = dict(
    type='mmuda.Supervised',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
)
train_dataloader = dict(dataset=dict(target=None))
