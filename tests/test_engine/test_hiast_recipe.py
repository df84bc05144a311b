"""HIAST's rounds: what is handed over, killed and resumed runs, on top of another method (HIAST spec 5.1 and 10)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, SMALL, assert_equal_labels, assert_equal_runs, run_and_die, write_and_die
from PIL import Image

from mmuda.engine.recipe import Recipe
from mmuda.registry import MODELS
from mmuda.utils.checkpoint import load_safe

# One iteration before the rounds, four in each; thresholds that a network without training passes.
SHORT = {
    'train_cfg.max_iters': 4,
    'source:train_cfg.max_iters': 1,
    'warmup:train_cfg.max_iters': 1,
    'train_cfg.val_interval': 2,
    'train_dataloader.batch_size': 2,
    'default_hooks.logger.interval': 1,
    **{f'labels{n}:selector.{key}': value for n in (1, 2, 3) for key, value in (('beta', 0.0), ('gamma', 0.0))},
    **{f'round{n}:train_dataloader.dataset.target.pipeline.4.heights': (20, 60) for n in (1, 2, 3)},
    **{f'round{n}:train_dataloader.dataset.target.pipeline.4.size': (32, 64) for n in (1, 2, 3)},
}


def recipe(options: dict, work_dir: Path, until: str, **settings: object) -> Recipe:
    config = ROOT / 'configs/hiast/minicity.py'
    return Recipe.load(config, work_dir, options=options | SHORT, resume=True, until_stage=until, **settings)


@pytest.fixture(scope='module')
def whole(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first round, and the labels of the second."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMUDA_DATA', str(city))
        recipe(SMALL, folder, 'labels2').run()
    return folder


def test_a_killed_round_resumes_exactly(options: dict, whole: Path, tmp_path: Path) -> None:
    """It dies twice: while it labels, and while it trains on the labels."""
    folder = tmp_path / 'b/run'
    write_and_die(recipe(options, folder, 'labels2'), '02_labels1', 3)
    run_and_die(recipe(options, folder, 'labels2'), 'after_train_iter', 2, '03_round1')
    recipe(options, folder, 'labels2').run()
    assert_equal_runs(whole / '03_round1', folder / '03_round1', 4)
    for name in ('02_labels1', '04_labels2'):
        one, two = ({p.name: p.read_bytes() for p in (run / name).rglob('*.png')} for run in (whole, folder))
        assert one == two
        assert one


@pytest.mark.slow
def test_killed_anywhere(options: dict, tmp_path: Path) -> None:
    """One run that dies ten times, in every stage."""
    one, two = tmp_path / 'a/run', tmp_path / 'b/run'
    recipe(options, one, 'round3').run()
    deaths = [
        (run_and_die, 'after_train_iter', 0, '00_source'),
        (run_and_die, 'before_save_checkpoint', 1, '01_warmup'),
        (write_and_die, '02_labels1', 3),
        (write_and_die, '02_labels1', 2),
        (run_and_die, 'before_val', 2, '03_round1'),
        (write_and_die, '04_labels2', 1),
        (run_and_die, 'after_train_iter', 3, '05_round2'),
        (write_and_die, '06_labels3', 7),
        (run_and_die, 'before_train_iter', 1, '07_round3'),
        (run_and_die, 'after_val_iter', 4, '07_round3'),
    ]
    for kill, *where in deaths:
        kill(recipe(options, two, 'round3'), *where)
    recipe(options, two, 'round3').run()
    for labels in ('02_labels1', '04_labels2', '06_labels3'):
        assert_equal_labels(one / labels, two / labels)
    for trained in ('03_round1', '05_round2', '07_round3'):
        assert_equal_runs(one / trained, two / trained, 4)


def test_what_a_round_hands_on(options: dict, whole: Path) -> None:
    """The teacher makes the next labels, the student goes on; a round begins with a teacher equal to its student."""
    manifest = json.loads((whole / '02_labels1/manifest.json').read_text())
    labels = [np.asarray(Image.open(whole / '02_labels1' / file)) for file in manifest['files']]
    pixels = [np.bincount(label.ravel(), minlength=256)[:19].tolist() for label in labels]
    assert manifest['pixels_by_image'] == pixels
    assert 0 < sum(map(sum, pixels)) < 8 * 128 * 256
    assert len(manifest['threshold_after_batch']) == 4  # pairs of eight images
    assert manifest['thresholds'] == manifest['threshold_after_batch'][-1]

    state = load_safe(whole / '03_round1/iter_4.pth')['state_dict']
    name = 'backbone.conv1.weight'
    student, teacher = state[f'student.{name}'], state[f'teacher.model.{name}']
    start = load_safe(whole / '01_warmup/iter_1.pth')['state_dict'][f'student.{name}']
    assert (teacher - start).abs().max() < 0.1 * (student - start).abs().max()  # 1 % of each of four steps
    assert torch.equal(state['student.backbone.bn1.running_mean'], state['teacher.model.backbone.bn1.running_mean'])

    later = recipe(options, whole, 'round2')
    later.plan()
    given = {stage.name: stage.paths() for stage in later.stages if stage.index in (4, 5)}
    assert given['labels2']['checkpoint'] == given['round2']['load_from'] == str(whole / '03_round1/iter_4.pth')
    assert later.stages[4].cfg.model.evaluate == 'teacher'


def test_on_top_of_another_method(options: dict, tmp_path: Path) -> None:
    """The rounds start from a checkpoint of EHTDI that is given."""
    config = ROOT / 'configs/hiast/minicity_ehtdi.py'
    settings = {key: value for key, value in SHORT.items() if not key.startswith(('warmup', 'source'))}
    settings |= {'ehtdi:train_dataloader.batch_size': 1}
    plain = Recipe.load(config, tmp_path / 'run', options=options)
    assert [stage.name for stage in plain.stages][:4] == ['source', 'ehtdi', 'labels1', 'round1']
    cfg = plain.stages[1].cfg
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        model.teacher.model.decode_head.convs[0].bias.add_(1)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'ehtdi.pth')
    given = {'ehtdi': str(tmp_path / 'ehtdi.pth')}
    one = Recipe.load(config, tmp_path / 'run', options=options | settings, init=given, until_stage='round1')
    assert [decision.action for _, decision in one.plan()][:4] == ['skip', 'init', 'todo', 'todo']
    state = load_safe(one.run())['state_dict']
    shift = state['student.decode_head.convs.0.bias'] - model.student.decode_head.convs[0].bias
    assert shift.abs().max() < 0.5  # of the student, not of the average
