# Source-only on SYNTHIA with the 16 classes that it shares with Cityscapes, also the start of EHTDI there: as on GTA5, but
# at 1280x760, its own size (EHTDI spec 3.3).
_base_ = './gta2city_source.py'
model = dict(student=dict(decode_head=dict(num_classes=16), auxiliary_head=dict(num_classes=16)))
train_dataloader = dict(
    dataset=dict(
        source=dict(
            type='mmuda.SYNTHIADataset',
            classes=16,
            pipeline=[
                dict(type='mmuda.PillowResize', scale=(1280, 760)) if step.type == 'mmuda.PillowResize' else step
                for step in _base_.train_dataloader.dataset.source.pipeline
            ])))
val_dataloader = dict(dataset=dict(classes=16))
test_dataloader = val_dataloader
