# Depth Distribution's adaptation, SYNTHIA -> Cityscapes, 7 classes (experiment 2): that of the 16 classes at the same size.
_base_ = './synthia2city_16_stage1_uda.py'
recipe = [dict(type='Train', name='uda', config='synthia2city_7_stage1_uda.py', carry=['discriminator'])]
model = dict(
    student=dict(decode_head=dict(num_classes=7)),
    mixtures='7',
    class_weight=[0.349, 0.462, 11.576, 1.325, 1.993, 3.216, 3.192],
)
train_dataloader = dict(dataset=dict(source=dict(classes=7), target=dict(classes=7)))
val_dataloader = dict(dataset=dict(classes=7))
test_dataloader = dict(dataset=dict(classes=7))
