# SYNTHIA with depth -> Cityscapes, 7 classes.
_base_ = './synthia2city_depth_16.py'
train_dataloader = dict(dataset=dict(source=dict(classes=7), target=dict(classes=7)))
val_dataloader = dict(dataset=dict(classes=7))
test_dataloader = val_dataloader
