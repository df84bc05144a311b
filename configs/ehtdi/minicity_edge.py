# EHTDI's edge variant on MiniCity; sound choices where the reference has a slip (README.md, T1-T3 and T12).
_base_ = './minicity.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='ehtdi_edge', load_from='source.last'),
]
model = dict(type='mmuda.EHTDIEdge', border_gate='sample')
