# EHTDI on MiniCity with a stock network, SegFormer MiT-B0: a transformer without an auxiliary head.
_base_ = ['./minicity.py', '../_base_/models/segformer_mit-b0.py']
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_mit-b0_source.py'),
    dict(type='Train', name='ehtdi', load_from='source.last'),
]
model = {{_base_.segformer}}
