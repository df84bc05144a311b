# IAST's source-only stage on SYNTHIA: HIAST's with a change of brightness and contrast.
_base_ = './synthia2city_stage0_source.py'
train_dataloader = dict(
    dataset=dict(
        source=dict(pipeline=[
            *_base_.train_dataloader.dataset.source.pipeline[:3],
            dict(type='mmuda.RandomBrightnessContrast', prob=0.3, limit=0.2),
            *_base_.train_dataloader.dataset.source.pipeline[3:],
        ])))
