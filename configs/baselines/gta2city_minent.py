# MinEnt, GTA5 -> Cityscapes: source training that also makes the entropy of the target's predictions small. Weight and start
# are those of HIAST's warm-up (HIAST spec 4 and 5.1), the only ones the specs give; the rest is as in gta2city_advent.py.
_base_ = './gta2city_advent.py'
recipe = [
    dict(type='Train', name='source', config='../ldbe/gta2city_stage0_source.py'),
    dict(type='Train', name='minent', load_from='source.last'),
]
model = dict(
    _delete_=True,
    type='mmuda.MinEnt',
    data_preprocessor={{_base_.model.data_preprocessor}},
    student={{_base_.model.student}},
    resize_once=True,
    entropy_weight=3.0,
)
optim_wrapper = dict(_delete_=True, constructor='mmuda.NetworkOptimConstructor', **_base_.optim_wrapper.student)
