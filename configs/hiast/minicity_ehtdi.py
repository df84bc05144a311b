# HIAST on top of another method, MiniCity: the rounds start from EHTDI in the place of the warm-up. On a checkpoint of your own:
#   python tools/train.py configs/hiast/minicity_ehtdi.py --init ehtdi=FILE
_base_ = './minicity.py'
recipe = [
    dict(type='Train', name='source', config='../baselines/minicity_source.py'),
    dict(type='Train', name='ehtdi', config='../ehtdi/minicity.py', load_from='source.last'),
    *[
        stage
        for number, before, lr in ((1, 'ehtdi', 6e-4), (2, 'round1', 4e-4), (3, 'round2', 2e-4))
        for stage in (
            dict(
                type='PseudoLabels', name=f'labels{number}', config='minicity.py', checkpoint=f'{before}.last',
                selector=dict(type='InstanceAdaptive', alpha=0.5, beta=0.9, gamma=8.0)),
            dict(
                type='Train', name=f'round{number}', config='minicity.py', load_from=f'{before}.last',
                labels=f'labels{number}', options={'optim_wrapper.optimizer.lr': lr}),
        )
    ],
]
