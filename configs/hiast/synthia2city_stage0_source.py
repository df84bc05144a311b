# HIAST's source-only stage on SYNTHIA: 19 outputs, of which 9, 14 and 16 (terrain, truck, train) hardly meet an example.
_base_ = './gta2city_stage0_source.py'
train_dataloader = dict(
    dataset=dict(
        source=dict(
            type='mmuda.SYNTHIADataset',
            split=None,  # all 9400 images
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', to_image=True),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(341, 640), ratio=2.0, size=(512, 1024)),
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=9400)  # 8 epochs
param_scheduler = [dict(type='CosineAnnealingLR', T_max=9400, eta_min=1e-7, by_epoch=False)]
default_hooks = dict(checkpoint=dict(save_best='mIoU16'))
