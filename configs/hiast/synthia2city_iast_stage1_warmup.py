# IAST's adversarial warm-up, SYNTHIA -> Cityscapes: 4 epochs, a weaker adversarial term.
_base_ = './gta2city_iast_stage1_warmup.py'
recipe = [
    dict(type='Train', name='source', config='synthia2city_iast_stage0_source.py'),
    dict(type='Train', name='warmup', load_from='source.best'),
]
model = dict(adv_weight=0.001)
train_dataloader = dict(
    dataset=dict(
        source=dict(
            type='mmuda.SYNTHIADataset',
            split=None,
            pipeline=[
                dict(step, heights=(341, 640)) if step.type == 'mmuda.RandomSizedCrop' else step
                for step in _base_.train_dataloader.dataset.source.pipeline
            ])))
train_cfg = dict(max_iters=9400)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=9400, eta_min=2e-8, by_epoch=False)]
default_hooks = dict(checkpoint=dict(save_best='mIoU16'))
