# LDBE, SYNTHIA -> Cityscapes, 19 outputs, scored over 19, 16 and 13 classes. The source-free stages see no source, so they
# are those of gta2city.py with another start.
#   python tools/train.py configs/ldbe/synthia2city.py --data-root DATA
#   python tools/train.py configs/ldbe/synthia2city.py --data-root DATA --init source=synthia_source.pth
_base_ = './gta2city.py'
recipe = [dict(type='Train', name='source', config='synthia2city_stage0_source.py'), *_base_.recipe[1:]]
