# EHTDI, base variant, SYNTHIA -> Cityscapes with their 16 common classes: a source-only start, then the method, which
# differs from gta2city.py by what stands here (EHTDI spec 1 to 3). Published on one GPU with batch_size 2 (README.md,
# "Several GPUs").
#   python tools/train.py configs/ehtdi/synthia2city_16.py --data-root DATA
#   python tools/train.py configs/ehtdi/synthia2city_16.py --data-root DATA --init source=synthia_source.pth
_base_ = './gta2city.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/synthia2city_16_source.py'),  # T8: not the one of GTA5
    dict(type='Train', name='ehtdi', load_from='source.last'),
]
model = dict(
    student=dict(decode_head=dict(num_classes=16), auxiliary_head=dict(num_classes=16)),
    contrast_weight=0.008,
    paste_above=4,  # T21: ids 0 to 4 are the same classes among 16 as among 19
)
train_dataloader = dict(
    dataset=dict(
        source=dict(
            type='mmuda.SYNTHIADataset',
            classes=16,
            pipeline=[  # to 1280x720 as GTA5's, although the images have 1280x760
                *_base_.train_dataloader.dataset.source.pipeline[:-2],
                dict(type='mmuda.DrawKeys', num_classes=16),
                dict(type='mmuda.Pack'),
            ]),
        target=dict(classes=16)))
val_dataloader = dict(dataset=dict(classes=16))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(save_best='mIoU13'))  # the best by the 13-class mean, as the reference's
