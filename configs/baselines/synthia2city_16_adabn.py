# Source-only on SYNTHIA, then the batch-norm statistics of the target instead of the source's; no weight is trained.
_base_ = './gta2city_adabn.py'
recipe = [
    dict(type='Train', name='source', config='synthia2city_16_source.py'),
    dict(type='Train', name='adabn', load_from='source.last'),
]
model = dict(student=dict(decode_head=dict(num_classes=16), auxiliary_head=dict(num_classes=16)))
train_dataloader = dict(dataset=dict(target=dict(classes=16)))
val_dataloader = dict(dataset=dict(classes=16))
test_dataloader = val_dataloader
