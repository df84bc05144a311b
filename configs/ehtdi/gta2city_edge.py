# EHTDI, edge variant, GTA5 -> Cityscapes: a source-only start, then the method (EHTDI spec 4.5); all but the losses as
# in gta2city.py. Published on one GPU with batch_size 2, which T12 needs on each GPU (README.md, "Several GPUs").
#   python tools/train.py configs/ehtdi/gta2city_edge.py --data-root DATA
_base_ = './gta2city.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/gta2city_source.py'),
    dict(type='Train', name='ehtdi_edge', load_from='source.last'),
]
model = dict(
    type='mmuda.EHTDIEdge',
    # what finally stands before each term; the reference multiplies other weights (T15)
    border_weight=0.1,
    back_border_weight=0.01,
    back_aux_weight=0.001,
    border_gate='pair',  # T12: a quirk of the reference
)
