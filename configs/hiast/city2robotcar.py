# HIAST, Cityscapes -> Oxford RobotCar, nine classes. Nothing is published of its rounds: rates and selector of gta2city.py,
# 7 hard classes of 9 in the place of 14 of 19.
#   python tools/train.py configs/hiast/city2robotcar.py --data-root DATA
_base_ = './gta2city.py'
recipe = [
    dict(type='Train', name='source', config='city2robotcar_stage0_source.py'),
    dict(type='Train', name='warmup', config='city2robotcar_stage1_warmup.py', load_from='source.best'),
    *_base_.recipe[2:],
]
model = dict(student=dict(decode_head=dict(num_classes=9)))
train_dataloader = dict(
    dataset=dict(
        target=dict(
            type='mmuda.RobotCarDataset',
            classes=9,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='mmuda.LoadLabels', to_image=True),
                dict(type='mmuda.HardClassCopyPaste', num_hard_classes=7),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(341, 900), ratio=1280 / 960, size=(768, 1024)),
                dict(type='mmuda.StrongView', num_ops=3, prob=0.5),
                dict(type='mmuda.Pack'),
            ])))
val_dataloader = dict(
    dataset=dict(
        type='mmuda.RobotCarDataset',
        classes=9,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmuda.LoadLabels'),
            dict(type='PackSegInputs'),
        ]))
test_dataloader = val_dataloader
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
tta_model = dict(sizes=[(960, 1280)])
# Nothing of the source may be opened.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='mmuda.LabelFirewallHook', forbid=dict(source=[f'{_base_.data_root}/cityscapes'])),
]
