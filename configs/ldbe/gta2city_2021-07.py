# LDBE with the hyper-parameters of July 2021, when its numbers were published: five rounds per stage, more pseudo-labels,
# a lower learning rate (LDBE spec 5.2; README.md, T33). Its validation every 10 iterations changes no weight: left at 200.
_base_ = './gta2city.py'
recipe = [
    dict(type='Train', name='source', config='gta2city_stage0_source.py'),
    *[
        stage
        for kind, config, start in (('ld', 'gta2city_stage1_ld.py', 'source'), ('be', 'gta2city_2021-07.py', 'ld5'))
        for before, name, prop, lr, carry in (
            (start, f'{kind}1', 0.2, 7.5e-5, []),
            (f'{kind}1', f'{kind}2', 0.25, 7.5e-5 / 2**0.5, ['teacher']),
            (f'{kind}2', f'{kind}3', 0.3, 7.5e-5 / 2, ['teacher']),
            (f'{kind}3', f'{kind}4', 0.35, 7.5e-5 / 2**1.5, ['teacher']),
            (f'{kind}4', f'{kind}5', 0.35 + 0.05, 7.5e-5 / 4, ['teacher']),
        )
        for stage in (
            dict(
                type='PseudoLabels', name=f'{name}_labels', config=config, checkpoint=f'{before}.last',
                selector=dict(type='GlobalLocal', prop=prop), bn_mode='batch'),
            dict(
                type='Train', name=name, config=config, load_from=f'{before}.last', labels=f'{name}_labels',
                carry=carry if kind == 'be' else [], options={'optim_wrapper.optimizer.lr': lr}, seed=1234),
        )
    ],
]
