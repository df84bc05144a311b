# Depth Distribution, SYNTHIA -> Cityscapes, 7 classes, 640x320: the recipe of the 16 classes at this size.
# The best snapshot is handed over, as in the reference; it is chosen with target val labels, and the log says so.
_base_ = './synthia2city_7_small_stage1_uda.py'
recipe = [
    *_base_.recipe,
    dict(
        type='PseudoLabels', name='labels', config='synthia2city_7_small.py', checkpoint='uda.best',
        selector=dict(
            type='FixedThreshold', threshold=0.9, at='network',
            min_area=[1000, 772, 100, 316, 234, 173, 173])),
    dict(type='Train', name='selftrain', config='synthia2city_7_small.py', load_from='uda.best', labels='labels'),
]
model = dict(
    _delete_=True,
    type='mmuda.SelfTraining',
    data_preprocessor={{_base_.model.data_preprocessor}},
    student={{_base_.model.student}},
    resize_once=True,
)
train_dataloader = dict(
    dataset=dict(
        source=None,
        target=dict(
            label_dir=None,  # the recipe puts the labels here
            pipeline=[
                *_base_.train_dataloader.dataset.target.pipeline[:-1],
                dict(type='mmuda.LoadLabels'),  # they have the network's size
                dict(type='mmuda.Pack'),
            ])))
train_cfg = dict(max_iters=30000)  # the horizon of the learning rate stays 90000 (T14)
optim_wrapper = dict(
    _delete_=True,
    constructor='mmuda.NetworkOptimConstructor',
    optimizer={{_base_.optim_wrapper.student.optimizer}},
)
# Nothing of the source and no label of the target's training images may be opened.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(
        type='mmuda.LabelFirewallHook',
        forbid=dict(source=[f'{_base_.data_root}/SYNTHIA'], target_labels=[f'{_base_.data_root}/cityscapes/gtFine/train'])),
]
