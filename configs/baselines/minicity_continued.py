# Source-only continued for as many iterations as a method adapts: what more source training alone would give.
_base_ = './minicity_source.py'
recipe = [
    dict(type='Train', name='source', config='minicity_source.py'),
    dict(type='Train', name='continued', load_from='source.last'),
]
