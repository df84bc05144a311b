# MinEnt on MiniCity: source training that also makes the entropy of the target's predictions small.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/minicity.py', '../_base_/datasets/minicity.py',
    '../_base_/schedules/minicity.py'
]
recipe = [
    dict(type='Train', name='source', config='minicity_source.py'),
    dict(type='Train', name='minent', load_from='source.last'),
]
model = dict(
    type='mmuda.MinEnt',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    entropy_weight=0.1,
)
