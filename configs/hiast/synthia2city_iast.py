# IAST, SYNTHIA -> Cityscapes, 19 outputs, scored over 19, 16 and 13 classes: the rounds of gta2city_iast.py, as long as two
# epochs of SYNTHIA.
#   python tools/train.py configs/hiast/synthia2city_iast.py --data-root DATA
_base_ = './gta2city_iast.py'
recipe = [
    dict(type='Train', name='source', config='synthia2city_iast_stage0_source.py'),
    dict(type='Train', name='warmup', config='synthia2city_iast_stage1_warmup.py', load_from='source.best'),
    *[
        dict(stage, options=dict(stage.options, **{'train_cfg.max_iters': 800})) if stage.name.startswith('half') else stage
        for stage in _base_.recipe[2:]
    ],
]
default_hooks = dict(checkpoint=dict(save_best='mIoU16'))
train_cfg = dict(max_iters=2000)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=3525, eta_min=3e-8, by_epoch=False)]  # 3 epochs of the source, of which 2 run
