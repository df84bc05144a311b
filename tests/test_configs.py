"""Every config that is shipped builds, runs two iterations of each stage and is scored, made small by options alone."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT, small_recipe, stamp
from mmengine.config import Config
from mmengine.runner import Runner

from mmuda.engine.recipe import Recipe
from mmuda.models.uda import EHTDIEdge
from mmuda.utils.checkpoint import load_safe

CONFIGS = ROOT / 'configs'
# Stages that another config has too, or rounds that a fast test compares (test_variants_of_ldbe, _of_hiast).
SLOW = [
    f'ldbe/{name}.py'
    for name in ('gta2city_2021-07', 'gta2city_entropy', 'gta2city_pseudo_labels', 'gta2city_stage1_ld',
                 'minicity_stage1_ld', 'synthia2city')
] + [
    f'depth_distribution/{name}.py'
    for name in ('minicity_stage1_uda', 'synthia2city_16', 'synthia2city_16_adv_density', 'synthia2city_16_adv_seg',
                 'synthia2city_16_adv_seg_depth',
                 'synthia2city_16_stage1_uda', 'synthia2city_7', 'synthia2city_7_small_stage1_uda',
                 'synthia2city_7_stage1_uda', 'synthia2mapillary_7', 'synthia2mapillary_7_small_stage1_uda',
                 'synthia2mapillary_7_stage1_uda')
] + [
    f'hiast/{name}.py'
    for name in ('city2robotcar', 'city2robotcar_stage0_source', 'city2robotcar_stage1_warmup', 'gta2city',
                 'gta2city_iast', 'gta2city_iast_stage0_source', 'gta2city_iast_stage1_warmup',
                 'gta2city_stage0_source', 'minicity_ehtdi', 'minicity_stage1_warmup', 'synthia2city',
                 'synthia2city_iast', 'synthia2city_iast_stage0_source', 'synthia2city_iast_stage1_warmup',
                 'synthia2city_stage0_source', 'synthia2city_stage1_warmup')
]  # fmt: skip
FILES = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
    for name in sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob('[a-z]*/*.py'))
    if not name.startswith('your_data')  # tests/test_datasets/test_folder.py
]


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs: a stage that several recipes share is trained once."""
    return tmp_path_factory.mktemp('runs')


@pytest.mark.parametrize('name', FILES)
def test_every_config_trains(name: str, city: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMUDA_DATA', str(city))
    recipe = small_recipe(name, runs / name.replace('/', '_'))
    last, cfg = recipe.run(), recipe.stages[-1].cfg
    assert last.name == f'iter_{cfg.train_cfg.max_iters}.pth'

    tool = runpy.run_path(str(ROOT / 'tools/test.py'))
    (written,) = last.parent.glob('*.py')
    monkeypatch.setattr(sys, 'argv', ['test.py', str(written), str(last)])
    scores = Runner.from_cfg(tool['build_config'](tool['parse_args']())).test()
    own = {7: {'IoU.flat'}, 9: {'IoU.two-wheel'}}
    more = own.get(cfg.model.student.decode_head.num_classes, {'mIoU16', 'mIoU13', 'IoU.road'})
    assert scores.keys() >= {'mIoU', 'aAcc'} | more
    validated = stamp(last.parent)['scores']
    assert scores == pytest.approx({name: validated[name] for name in scores}, nan_ok=True)


def test_final_score_of_hiast(city: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--tta`` takes images as large as their labels, and sums probabilities."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    recipe = small_recipe('hiast/gta2city_stage0_source.py', runs / 'hiast_gta2city_stage0_source.py')
    last = recipe.run()
    tool = runpy.run_path(str(ROOT / 'tools/test.py'))
    (written,) = last.parent.glob('*.py')
    monkeypatch.setattr(sys, 'argv', ['test.py', str(written), str(last), '--tta'])
    cfg = tool['build_config'](tool['parse_args']())
    assert len(cfg.model.sizes) == 5
    cfg.model.sizes = [(32, 64), (48, 96)]
    assert Runner.from_cfg(cfg).test()['aAcc'] > 0


def test_a_start_of_19_classes_keeps_the_16(city: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--init source=FILE`` with another task's file (EHTDI spec 3.2)."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    start = small_recipe('baselines/gta2city_source.py', runs / 'start').run()
    recipe = small_recipe('ehtdi/synthia2city_16.py', runs / 'from_19', init={'source': str(start)})
    recipe.stages[1].cfg.optim_wrapper.optimizer.lr = 0.0  # what is read stays
    given, found = load_safe(start)['state_dict'], load_safe(recipe.run())['state_dict']
    kept = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    heads = [name for name in given if '_head.convs.' in name]
    assert len(heads) == 2 * 4 * 2  # weight and bias of four branches in both heads
    for name in heads:
        assert given[name].shape[0] == 19
        for network in ('student', 'teacher.model'):
            assert torch.equal(found[name.replace('student', network)], given[name][kept])


def test_adaptation_starts_from_both_networks(city: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``uda:load_from=FILE`` (Depth Distribution); the discriminator does not start anew."""
    monkeypatch.setenv('MMUDA_DATA', str(city))
    name = 'depth_distribution/synthia2city_7_small_stage1_uda.py'
    recipe = small_recipe(name, runs / 'both_a')
    given = load_safe(recipe.run())['state_dict']
    torch.save({'state_dict': given}, runs / 'given.pth')
    again = small_recipe(name, runs / 'both_b', options={'uda:load_from': str(runs / 'given.pth')})
    for network in ('student', 'discriminator'):
        again.stages[0].cfg.optim_wrapper[network].optimizer.lr = 0.0  # what is read stays
    found = load_safe(again.run())['state_dict']
    parts = [key for key in given if 'running' not in key and 'tracked' not in key and '_extra' not in key]
    assert {key.split('.')[0] for key in parts} >= {'student', 'discriminator'}
    assert all(torch.equal(found[key], given[key]) for key in parts)
    alone = {key: value for key, value in given.items() if not key.startswith('discriminator.')}
    torch.save({'state_dict': alone}, runs / 'alone.pth')
    without = small_recipe(name, runs / 'both_c', options={'uda:load_from': str(runs / 'alone.pth')})
    with pytest.raises(ValueError, match="carry names 'discriminator', but the checkpoint has none"):
        without.run()


def leaves(node: object, path: str = '') -> dict[str, object]:
    """Every value of a config by its dotted name."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else None
    if items is None:
        return {path: node}
    return {name: value for key, item in items for name, value in leaves(item, f'{path}.{key}'.lstrip('.')).items()}


SYNTHIA = {'train_dataloader.dataset.source.type': 'mmuda.SYNTHIADataset'}
METHOD = {
    **SYNTHIA,
    'recipe.0.config': '../baselines/synthia2city_16_source.py',
    'model.contrast_weight': 0.008,
    'model.paste_above': 4,
    'default_hooks.checkpoint.save_best': 'mIoU13',
}


@pytest.mark.parametrize(
    ('name', 'wanted'),
    [
        ('baselines/gta2city_source.py', {**SYNTHIA, 'train_dataloader.dataset.source.pipeline.3.scale.1': 760}),
        ('ehtdi/gta2city.py', METHOD),
        ('ehtdi/gta2city_edge.py', METHOD),
    ],
)
def test_synthia_is_trained_as_gta5_but_for_what_the_paper_says(name: str, wanted: dict) -> None:
    gta5 = leaves(Config.fromfile(CONFIGS / name).to_dict())
    synthia = leaves(Config.fromfile(CONFIGS / name.replace('gta2city', 'synthia2city_16')).to_dict())
    changed = {key: value for key, value in synthia.items() if key not in gta5 or gta5[key] != value}
    classes = {key for key in changed if key.endswith('classes')}
    assert {key: value for key, value in changed.items() if key not in classes} == wanted
    assert {changed[key] for key in classes} == {16}
    dropped = gta5.keys() - synthia.keys()
    assert all(gta5[key] == EHTDIEdge.__init__.__kwdefaults__[key.removeprefix('model.')] for key in dropped)


def changes(name: str, base: str, paper: str = 'ldbe') -> dict[str, object]:
    """What a config adds to another or sets otherwise, the rounds of its recipe aside."""
    ours, theirs = (leaves(Config.fromfile(CONFIGS / f'{paper}/{file}.py').to_dict()) for file in (name, base))
    changed = {key: value for key, value in ours.items() if key not in theirs or theirs[key] != value}
    return {key: value for key, value in changed.items() if not re.match(r'recipe\.[1-9]', key)}


def test_variants_of_ldbe() -> None:
    assert changes('gta2city_entropy', 'gta2city_stage1_ld') == {
        'model.positive_weight': 0.0,
        'model.negative_weight': 0.0,
    }
    assert changes('gta2city_pseudo_labels', 'gta2city_stage1_ld') == {
        'model.entropy_weight': 0.0,
        'model.negative_weight': 0.0,
    }
    assert changes('gta2city_2021-07', 'gta2city') == {}
    assert changes('synthia2city', 'gta2city') == {'recipe.0.config': 'synthia2city_stage0_source.py'}
    source = changes('synthia2city_stage0_source', 'gta2city_stage0_source')
    assert source == {'train_dataloader.dataset.source.type': 'mmuda.SYNTHIADataset'}
    for name in (
        'gta2city',
        'minicity',
    ):  # method and learning rate aside, a keys' transform is all that boundary enhancement adds
        added = {
            key
            for key in changes(name, f'{name}_stage1_ld')
            if not key.startswith(('model.', 'recipe.', 'optim_wrapper.'))
        }
        assert {key.rpartition('.')[0] for key in added} == {
            f'train_dataloader.dataset.target.pipeline.{place}' for place in (4, 5)
        }


def test_variants_of_hiast() -> None:
    source = 'train_dataloader.dataset.source'
    target = 'train_dataloader.dataset.target'
    assert changes('synthia2city', 'gta2city', 'hiast') == {
        'recipe.0.config': 'synthia2city_stage0_source.py',
        **{f'{target}.pipeline.2.ignored_classes.{i}': c for i, c in enumerate((9, 14, 16))},
        'default_hooks.checkpoint.save_best': 'mIoU16',
    }
    for number, iterations in enumerate((9400, 9400)):
        stage = ('stage0_source', 'stage1_warmup')[number]
        changed = changes(f'synthia2city_{stage}', f'gta2city_{stage}', 'hiast')
        assert changed.pop('model.adv_weight', None) == (None, 0.001)[number]
        changed.pop('recipe.0.config', None)
        assert changed == {
            f'{source}.type': 'mmuda.SYNTHIADataset',
            f'{source}.split': None,
            f'{source}.pipeline.3.heights.1': 640,
            'train_cfg.max_iters': iterations,
            'param_scheduler.0.T_max': iterations,
            'default_hooks.checkpoint.save_best': 'mIoU16',
        }
    assert not changes('minicity_ehtdi', 'minicity', 'hiast')
    iast = changes('gta2city_iast_stage1_warmup', 'gta2city_stage1_warmup', 'hiast')
    assert iast['model.discriminator.first_kernel'] == 3
    for name, rates in (('gta2city', (3e-6, 2e-6, 1e-6)), ('gta2city_iast', (3e-6, 2.5e-6, 2e-6))):
        stages = {stage.name: stage for stage in Recipe.load(CONFIGS / f'hiast/{name}.py', 'nowhere').stages}
        for number, rate in enumerate(rates, 1):
            cfg = stages[f'round{number}'].cfg
            assert cfg.optim_wrapper.optimizer.lr == rate
            assert cfg.param_scheduler[0].eta_min == pytest.approx(rate * (1e-3 if name == 'gta2city' else 1e-2))
    assert str(stages['labels2'].inputs['checkpoint']) == 'half1.last'  # of IAST; then the round goes on
    assert str(stages['round2'].inputs['continues']) == 'half2.last'
    assert str(stages['half2'].inputs['load_from']) == 'round1.last'
