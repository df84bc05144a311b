# The oracle: trained on the labelled target for as long as source-only and a method together.
_base_ = './minicity_source.py'
recipe = [dict(type='Train', name='oracle')]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='mmuda.CityscapesDataset',
            data_root={{_base_.data_root}},
            split='train',
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=2400, val_interval=1200)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=2401, by_epoch=False)]
