# DAF+IDA on MiniCity: DAF, ISL, then adversarial alignment within the target: of its hard images with its easy ones, whose
# labels are those of the ranking.
_base_ = './minicity_stage2_isl.py'
recipe = [
    *_base_.recipe,
    dict(type='Ranking', name='ranking', config='minicity_stage2_isl.py', checkpoint='isl2.last', ratio=0.66),
    dict(type='Train', name='ida', load_from='isl2.last', ranking='ranking'),
]
model = dict(
    _delete_=True,
    type='mmuda.Adversarial',
    data_preprocessor={{_base_.model.data_preprocessor}},
    student={{_base_.model.student}},
    discriminator=dict(type='mmuda.FCDiscriminator', base_channels=16),
    disc_input='self_information',
    gan_loss='bce',
    adv_weight=0.001,
    disc_weight=0.5,
)
train_dataloader = dict(
    dataset=dict(
        # the recipe puts in the easy images and their labels here, the hard images below
        source=dict(_base_.train_dataloader.dataset.target, _delete_=True),
        target=dict(pipeline=[
            dict(type='mmuda.LoadImage'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmuda.RandomGaussianBlur', prob=0.5),
            dict(type='mmuda.Pack'),
        ])))
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    student=dict(optimizer={{_base_.optim_wrapper.optimizer}}),
    discriminator=dict(optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.99))))
