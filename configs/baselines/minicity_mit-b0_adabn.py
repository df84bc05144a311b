# Source-only, then the batch-norm statistics of the target, with SegFormer MiT-B0: its decode head has batch norm.
_base_ = ['./minicity_adabn.py', '../_base_/models/segformer_mit-b0.py']
recipe = [
    dict(type='Train', name='source', config='minicity_mit-b0_source.py'),
    dict(type='Train', name='adabn', load_from='source.last'),
]
model = {{_base_.segformer}}
