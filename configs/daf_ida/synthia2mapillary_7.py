# DAF+IDA, SYNTHIA -> Mapillary Vistas, 7 classes: the recipe of the 16 classes at this size (DAF+IDA spec 5.2, 5.3). Best
# snapshots are handed over, as in the reference; they are chosen with target val labels, and the log says so.
_base_ = './synthia2mapillary_7_stage2_isl.py'
recipe = [
    *_base_.recipe,
    dict(type='Ranking', name='ranking', config='synthia2mapillary_7_stage2_isl.py', checkpoint='isl.best', ratio=0.66),
    dict(type='Train', name='ida', load_from='isl.best', ranking='ranking'),
]
model = dict(
    _delete_=True,
    type='mmuda.Adversarial',
    data_preprocessor={{_base_.model.data_preprocessor}},
    student={{_base_.model.student}},
    resize_once=True,
    discriminator=dict(type='mmuda.FCDiscriminator'),
    disc_input='self_information',  # T3: no depth
    gan_loss='bce',
    adv_weight=0.001,
    disc_weight=0.5,  # T23
)
# the recipe puts in the easy images and their labels as the source, the hard images as the target
train_dataloader = dict(dataset=dict(source=dict(_base_.train_dataloader.dataset.target, _delete_=True)))
train_cfg = dict(max_iters=120000, val_interval=2000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=250001, by_epoch=False)]
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    student=dict(optimizer=_base_.optim_wrapper.optimizer, paramwise_cfg=_base_.optim_wrapper.paramwise_cfg),
    discriminator=dict(optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99))))
