# The adaptation of the 16 classes with another input of the discriminator, a released ablation: the entropy map alone, as in AdvEnt.
_base_ = './synthia2city_16_stage1_uda.py'
recipe = [dict(type='Train', name='uda', carry=['discriminator'])]
model = dict(adv_input='seg')
