# Source-only, then the batch-norm statistics of the target instead of the source's; no weight is trained.
_base_ = './minicity_source.py'
recipe = [
    dict(type='Train', name='source', config='minicity_source.py'),
    dict(type='Train', name='adabn', load_from='source.last'),
]
model = dict(type='mmuda.AdaBN')
train_dataloader = dict(
    dataset=dict(
        source=None,
        target=dict(
            _delete_=True,
            type='mmuda.CityscapesDataset',
            data_root={{_base_.data_root}},
            split='train',
            with_labels=False,
            pipeline=[dict(type='mmuda.LoadImage'), dict(type='mmuda.Pack')])))
train_cfg = dict(max_iters=100, val_interval=100)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=101, by_epoch=False)]
