# Two rounds of labelling and training, written as a comprehension: its variables are its own, while a variable of the
# file would become a setting of the config.
_base_ = '../../configs/ehtdi/minicity.py'
recipe = [
    dict(type='Train', name='source', config='../../configs/baselines/minicity_source.py'),
    *(
        stage
        for number, start in enumerate(['source', 'round1'], 1)
        for stage in (
            dict(
                type='PseudoLabels',
                name=f'labels{number}',
                checkpoint=f'{start}.last',
                selector=dict(type='FixedThreshold', threshold=0.2),
                num_workers=0,
            ),
            dict(
                type='Train',
                name=f'round{number}',
                load_from=f'{start}.last',
                labels=f'labels{number}',
                seed=1234,
                carry=['teacher'] if number > 1 else [],
                options={'optim_wrapper.optimizer.lr': 1e-3 / 2**number},
            ),
        )
    ),
]
model = dict(type='FromLabels')
train_dataloader = dict(
    dataset=dict(
        source=None,
        target=dict(
            _delete_=True,
            type='mmuda.CityscapesDataset',
            data_root={{_base_.data_root}},
            split='train',
            with_labels=False,
            pipeline=[dict(type='mmuda.LoadImage'), dict(type='mmuda.LoadLabels'), dict(type='mmuda.Pack')],
        ),
    )
)
