# AdvEnt on MiniCity: the discriminator sees the self-information of the prediction (DAF+IDA spec 3.4 and 4). Single-level:
# the specs describe no second discriminator on an auxiliary head.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/minicity.py', '../_base_/datasets/minicity.py',
    '../_base_/schedules/minicity_adversarial.py'
]
recipe = [
    dict(type='Train', name='source', config='minicity_source.py'),
    dict(type='Train', name='advent', load_from='source.last'),
]
model = dict(
    type='mmuda.Adversarial',
    data_preprocessor={{_base_.data_preprocessor}},
    student={{_base_.student}},
    discriminator=dict(type='mmuda.FCDiscriminator', base_channels=16),
    disc_input='self_information',
    gan_loss='bce',
    adv_weight=0.001,
    disc_weight=0.5,
)
