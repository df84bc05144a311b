default_scope = 'mmuda'
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=0)
log_level = 'INFO'
log_processor = dict(by_epoch=False)
vis_backends = [dict(type='LocalVisBackend')]  # add dict(type='TensorboardVisBackend') or dict(type='WandbVisBackend')
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends)  # no name: every stage gets its own
default_hooks = dict(
    runtime_info=dict(type='mmuda.DeferredInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmuda.SafeCheckpointHook', interval=None, keep=2, save_best='mIoU'),  # None: each validation
    pictures=dict(type='mmuda.PictureHook', interval=None),  # None: each validation; 0: none
    sampler_seed=None,
)
custom_hooks = [
    dict(type='mmuda.IterationSeedHook'),
    dict(type='mmuda.FiniteLossHook', interval=50),
    dict(type='mmuda.RankStatisticsHook'),
]
model_wrapper_cfg = dict(type='mmuda.models.StepParallel')  # MMEngine looks it up by its whole name
tta_model = dict(type='mmuda.TTAModel')
