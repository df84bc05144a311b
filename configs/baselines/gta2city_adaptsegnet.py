# AdaptSegNet, GTA5 -> Cityscapes: as AdvEnt there, but the discriminator sees the softmax of the prediction.
_base_ = './gta2city_advent.py'
recipe = [dict(type='Train', name='adaptsegnet')]
model = dict(disc_input='softmax')
