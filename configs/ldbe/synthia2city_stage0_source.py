# LDBE's source-only stage on SYNTHIA: 19 outputs, of which 9, 14 and 16 (terrain, truck, train) hardly meet an example.
_base_ = './gta2city_stage0_source.py'
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='mmuda.SYNTHIADataset',
            data_root={{_base_.data_root}},
            split=None,  # all 9400 images
            cache=None,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', same_size=False),
                dict(type='mmuda.ShortSideRandomScaleCrop', short_side=720, ratios=(0.5, 0.75, 1.0, 1.25, 1.5), crop=600),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
