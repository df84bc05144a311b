# Source-only, then the batch-norm statistics of the target instead of the source's; no weight is trained.
_base_ = './gta2city_source.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_source.py'),
    dict(type='Train', name='adabn', load_from='source.last'),
]
model = dict(type='mmuda.AdaBN')
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        source=None,
        target=dict(
            _delete_=True,
            type='mmuda.CityscapesDataset',
            data_root={{_base_.data_root}},
            split='train',
            cache=None,
            with_labels=False,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.PillowResize', scale=(1280, 640)),
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=1487, val_interval=1487)
