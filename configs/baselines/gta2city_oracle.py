# The oracle: trained on the labelled target, with the schedule of the source-only run.
_base_ = './gta2city_source.py'
recipe = [dict(type='Train', name='oracle')]
train_dataloader = dict(
    sampler=dict(restart_every=None),
    dataset=dict(
        source=dict(
            _delete_=True,
            type='mmuda.CityscapesDataset',
            data_root={{_base_.data_root}},
            split='train',
            cache=None,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.PillowResize', scale=(1280, 640)),
                dict(type='mmuda.RandomGaussianBlur', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
