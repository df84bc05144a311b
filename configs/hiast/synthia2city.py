# HIAST, SYNTHIA -> Cityscapes, 19 outputs, scored over 19, 16 and 13 classes. Nothing is published of its rounds: these are
# those of gta2city.py, with the classes that SYNTHIA does not teach left out of copy-paste (README.md, T6).
#   python tools/train.py configs/hiast/synthia2city.py --data-root DATA
_base_ = './gta2city.py'
recipe = [
    dict(type='Train', name='source', config='synthia2city_stage0_source.py'),
    dict(type='Train', name='warmup', config='synthia2city_stage1_warmup.py', load_from='source.best'),
    *_base_.recipe[2:],
]
train_dataloader = dict(
    dataset=dict(
        target=dict(pipeline=[
            dict(step, ignored_classes=(9, 14, 16)) if step.type == 'mmuda.HardClassCopyPaste' else step
            for step in _base_.train_dataloader.dataset.target.pipeline
        ])))
default_hooks = dict(checkpoint=dict(save_best='mIoU16'))
