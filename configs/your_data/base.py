# What the configs of your own data share: data.py's folders and classes with the network, loading and schedule of gta2city.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/models/deeplabv2_r101.py', '../_base_/datasets/gta2city.py',
    '../_base_/schedules/poly_250k.py', './data.py'
]
student = dict(decode_head=dict(num_classes=len(_base_.ids)), auxiliary_head=dict(num_classes=len(_base_.ids)))
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='mmuda.FolderDataset',
            data_root=_base_.data_root,
            cache=None,
            pipeline=_base_.train_dataloader.dataset.source.pipeline,
            **_base_.source),
        target=dict(
            _delete_=True,
            type='mmuda.FolderDataset',
            data_root=_base_.data_root,
            cache=None,
            with_labels=False,
            pipeline=_base_.train_dataloader.dataset.target.pipeline,
            **_base_.target)))
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmuda.FolderDataset',
        data_root=_base_.data_root,
        test_mode=True,
        pipeline=_base_.val_dataloader.dataset.pipeline,
        **_base_.val))
test_dataloader = val_dataloader
val_evaluator = dict(subsets=dict(mIoU=[*range(len(_base_.ids))]))
test_evaluator = val_evaluator
