# Source-only continued for as many iterations as a method adapts, with SegFormer MiT-B0.
_base_ = './minicity_mit-b0_source.py'
recipe = [
    dict(type='Train', name='source', config='minicity_mit-b0_source.py'),
    dict(type='Train', name='continued', load_from='source.last'),
]
