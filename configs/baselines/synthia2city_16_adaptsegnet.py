# AdaptSegNet, SYNTHIA -> Cityscapes: as AdvEnt there, but the discriminator sees the softmax of the prediction.
_base_ = './synthia2city_16_advent.py'
recipe = [dict(type='Train', name='adaptsegnet')]
model = dict(disc_input='softmax')
