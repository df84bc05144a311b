# HIAST's adversarial warm-up, with its predecessor's settings (HIAST spec 5.2): 4 epochs, batches of 4. From here on weight and
# bias of the batch norms are fixed, their statistics live (README.md, T1).
_base_ = './gta2city_stage0_source.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_stage0_source.py'),
    dict(type='Train', name='warmup', load_from='source.best'),
]
model = dict(
    _delete_=True,
    type='mmuda.Adversarial',
    data_preprocessor={{_base_.data_preprocessor}},
    student=dict(_base_.model.student, backbone=dict(_base_.student.backbone, norm_cfg=dict(type='SyncBN', requires_grad=False))),
    discriminator=dict(type='mmuda.FCDiscriminator'),
    disc_input='softmax',
    gan_loss='least_squares',
    adv_weight=0.05,
    disc_weight=0.5,
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        target=dict(
            _delete_=True,
            type='mmuda.CityscapesDataset',
            data_root={{_base_.data_root}},
            split='train',
            cache=None,
            with_labels=False,
            pipeline=[
                dict(type='mmuda.LoadImage'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmuda.RandomSizedCrop', heights=(341, 1000), ratio=2.0, size=(512, 1024)),
                dict(type='mmuda.Pack'),
            ])))
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(1280, 640)),
        dict(type='mmuda.LoadLabels', same_size=False),
        dict(type='PackSegInputs'),
    ]))
test_dataloader = val_dataloader
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1280, 640)),
    dict(type='PackSegInputs'),
]
train_cfg = dict(max_iters=24940, val_interval=400)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=24940, eta_min=2e-8, by_epoch=False)]
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    student=dict(
        optimizer=dict(type='Adam', lr=2e-6, weight_decay=5e-4),
        paramwise_cfg={{_base_.optim_wrapper.paramwise_cfg}}),
    discriminator=dict(optimizer=dict(type='Adam', lr=2e-5)))
# No label of the target's training images may be opened; the log says at the end what was.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmuda.LabelFirewallHook', forbid=dict(target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
