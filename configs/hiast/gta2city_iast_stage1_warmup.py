# IAST's adversarial warm-up: HIAST's with a change of brightness and contrast, and a discriminator that begins with a 3x3
# convolution.
_base_ = './gta2city_stage1_warmup.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_iast_stage0_source.py'),
    dict(type='Train', name='warmup', load_from='source.best'),
]
model = dict(discriminator=dict(first_kernel=3))
train_dataloader = dict(
    dataset=dict(
        source=dict(pipeline=[
            *_base_.train_dataloader.dataset.source.pipeline[:3],
            dict(type='mmuda.RandomBrightnessContrast', prob=0.3, limit=0.2),
            *_base_.train_dataloader.dataset.source.pipeline[3:],
        ]),
        target=dict(pipeline=[
            *_base_.train_dataloader.dataset.target.pipeline[:2],
            dict(type='mmuda.RandomBrightnessContrast', prob=0.3, limit=0.2),
            *_base_.train_dataloader.dataset.target.pipeline[2:],
        ])))
