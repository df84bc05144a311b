# EHTDI, edge variant, SYNTHIA -> Cityscapes with their 16 common classes (EHTDI spec 4.5); all but the losses as in
# synthia2city_16.py, these as in gta2city_edge.py. Published on one GPU with batch_size 2, which T12 needs on each GPU
# (README.md, "Several GPUs").
#   python tools/train.py configs/ehtdi/synthia2city_16_edge.py --data-root DATA
_base_ = './synthia2city_16.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/synthia2city_16_source.py'),
    dict(type='Train', name='ehtdi_edge', load_from='source.last'),
]
model = dict(type='mmuda.EHTDIEdge', border_gate='pair')  # T12; the weights of the border terms are the defaults
