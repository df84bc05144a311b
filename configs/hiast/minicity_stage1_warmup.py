# HIAST's adversarial warm-up on MiniCity: least squares on the softmax.
_base_ = '../baselines/minicity_advent.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='warmup', load_from='source.last'),
]
model = dict(disc_input='softmax', gan_loss='least_squares', adv_weight=0.001)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=1200, eta_min=1e-6, by_epoch=False)]
# No label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmuda.LabelFirewallHook', forbid=dict(target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
