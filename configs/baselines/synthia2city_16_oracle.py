# The oracle of the 16 classes: trained on the labelled target, with the schedule of the source-only run.
_base_ = './gta2city_oracle.py'
model = dict(student=dict(decode_head=dict(num_classes=16), auxiliary_head=dict(num_classes=16)))
train_dataloader = dict(dataset=dict(source=dict(classes=16)))
val_dataloader = dict(dataset=dict(classes=16))
test_dataloader = val_dataloader
