# AdaptSegNet on MiniCity: the discriminator sees the softmax of the prediction.
_base_ = './minicity_advent.py'
recipe = [
    dict(type='Train', name='source', config='minicity_source.py'),
    dict(type='Train', name='adaptsegnet', load_from='source.last'),
]
model = dict(disc_input='softmax')
