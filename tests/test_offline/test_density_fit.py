"""Fitting mixtures and writing their maps (Depth Distribution spec 2.5 and 6.1)."""

import json
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import plain_depth_distribution as plain
import pytest
import torch
from helpers import ROOT, SMALL_CITY, contents, die, load_golden
from mmengine.config import Config

from mmuda.models.density import ClassDensity, read_mixtures
from mmuda.offline import density, fit_density, write_density_maps

# ------------------------------------------------------------------------------------------------------------- EM


@pytest.fixture(scope='module')
def golden() -> dict[str, np.ndarray]:
    return load_golden('depth_distribution', 'gmm_em')


DEGENERATE = (4, 2)  # inverse depth of the 5 points at 65536


def start(golden: dict) -> list[np.ndarray]:
    return [golden['x'].astype(np.float64), *(golden[name][0].astype(np.float64) for name in ('mu_init', 'var_init'))]


def assert_parameters(found: tuple, golden: dict, prefix: str, rtol: float) -> None:
    keep = np.ones((5, 3), bool)
    keep[DEGENERATE] = False
    weight, mean, var = found
    np.testing.assert_allclose(weight, golden[f'{prefix}_pi'][0, :, 0], rtol=rtol)
    np.testing.assert_allclose(mean, golden[f'{prefix}_mu'][0], rtol=rtol)
    np.testing.assert_allclose(var[keep], golden[f'{prefix}_var'][0][keep], rtol=rtol)


def test_one_step_golden(golden: dict) -> None:
    x, mean, var = start(golden)
    *found, likelihood = density.expectation_maximisation(x, mean, var=var, steps=1)
    assert likelihood == pytest.approx(golden['estep_mean_loglik'], rel=1e-5)
    assert_parameters(found, golden, 'mstep', rtol=1e-3)  # in float32 there


@pytest.mark.parametrize('form', ['fast', 'plain'])
def test_whole_fit_golden(golden: dict, form: str) -> None:
    x, mean, var = start(golden)
    if form == 'fast':
        *found, likelihood = density.expectation_maximisation(x, mean, var=var)
        assert found[2][DEGENERATE] == pytest.approx(1e-6)  # the true value: 0 and the floor
    else:
        *parts, likelihood = plain.em(*map(torch.from_numpy, (x, mean, var)))
        found = [part.numpy() for part in parts]
    # The reference's variances carry mean^2 * 1e-6 / (points of the component), which is what makes 859 of that 0.
    assert_parameters(found, golden, 'fit_f64', rtol=1e-6 if form == 'plain' else 5e-5)
    assert likelihood == pytest.approx(golden['fit_f64_loglik'], abs=1e-9 if form == 'plain' else 0.2)


def test_many_points_are_fitted_as_by_the_plain_form() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(m, s, (3000, 3)) for m, s in (((20, 30, 50), 5), ((90, 60, 300), 20))])
    mean = x[::1200].copy()
    *found, likelihood = density.expectation_maximisation(x, mean)
    *wanted, plain_likelihood = plain.em(torch.from_numpy(x), torch.from_numpy(mean), torch.ones(len(mean), 3).double())
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)
    assert likelihood == pytest.approx(plain_likelihood, abs=1e-7)


def test_a_fit_finds_what_points_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    means, spreads = [[20, 30, 50], [100, 60, 300], [60, 10, 1]], [[5, 3, 4], [10, 6, 40], [20, 4, 0]]
    parts = [rng.normal(m, s, (n, 3)) for m, s, n in zip(means, spreads, (6000, 3000, 1000), strict=True)]
    found, _ = density.fit_mixture(np.concatenate(parts), 3)
    assert [weight for weight, *_ in found] == pytest.approx([0.6, 0.3, 0.1], abs=0.01)
    np.testing.assert_allclose([mean for _, mean, _ in found], means, rtol=0.05, atol=1)
    np.testing.assert_allclose(np.sqrt([var for *_, var in found]), spreads, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize('count', [1, 3])
def test_fewer_points_than_components(count: int) -> None:
    found, _ = density.fit_mixture(np.arange(3 * count).reshape(count, 3) * 1.0, 5)
    assert len(found) == count
    assert all(np.isfinite(value).all() for component in found for value in component)


# ------------------------------------------------------------------------------------------------- the whole steps


@pytest.fixture
def cfg(load: Callable[..., Config]) -> Config:
    return load(
        'depth_distribution/minicity_stage1_uda.py', **{'train_dataloader.dataset.source.pipeline.3.size': (17, 9)}
    )


def test_mixtures_of_minicity(cfg: Config, tmp_path: Path) -> None:
    done = fit_density(cfg, tmp_path / 'out', num_workers=0)
    found = read_mixtures(str(tmp_path / 'out' / density.MIXTURES))
    assert found.grid == (9, 17)
    assert len(found.weight) == 19
    assert done['classes'][10] == 'sky'
    assert sum(done['cells'].values()) <= 9 * 17 * SMALL_CITY['source']
    present = torch.tensor([done['cells'][name] > 0 for name in done['classes']])
    torch.testing.assert_close(found.weight.sum(1), present.double(), rtol=0, atol=1e-4)
    sky = found.weight[10].argmax()
    assert found.mean[10, sky, 2] == pytest.approx(1, abs=0.01)  # as far as can be
    assert found.mean[10, sky, 1] < found.mean[0, :, 1].min()  # above the road
    pictures = [cv2.imread(str(tmp_path / 'out' / name)) for name in done['files'][1:]]
    assert all(picture.shape[1] > 500 for picture in pictures)
    before = contents(tmp_path / 'out')
    fit_density(cfg, tmp_path / 'again', num_workers=2)
    assert contents(tmp_path / 'again') == before
    assert fit_density(cfg, tmp_path / 'out', num_workers=0) == done
    with pytest.raises(ValueError, match='holds mixtures of another components'):
        fit_density(cfg, tmp_path / 'out', components=3)


def test_a_killed_fit_starts_again(cfg: Config, tmp_path: Path) -> None:
    fit_density(cfg, tmp_path / 'whole', num_workers=0)

    def work() -> None:
        density.write_mixtures = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        fit_density(cfg, tmp_path / 'out', num_workers=0)

    die(work)
    assert not (tmp_path / 'out/manifest.json').exists()
    fit_density(cfg, tmp_path / 'out', num_workers=0)
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


def test_maps_are_those_of_the_plain_form(cfg: Config, tmp_path: Path) -> None:
    fit_density(cfg, tmp_path / 'fit', num_workers=0)
    table = str(tmp_path / 'fit' / density.MIXTURES)
    done = write_density_maps(cfg, tmp_path / 'maps', table, num_workers=0)
    assert done['count'] == 19 * SMALL_CITY['source']
    label, depth = density.source_grid(cfg)[2]
    mixtures = read_mixtures(table)
    wanted = plain.source_maps(mixtures, label, depth)
    for number in range(19):
        found = cv2.imread(str(tmp_path / f'maps/0000002-{number}.tiff'), cv2.IMREAD_UNCHANGED)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted[number], rtol=1e-4, atol=1e-9)
    with pytest.raises(ValueError, match='16 are mixtures of 16 classes, the source has 19'):
        write_density_maps(cfg, tmp_path / 'other', '16')


def test_the_command_line(cfg: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg.dump(tmp_path / 'c.py')
    table = tmp_path / 'fit' / density.MIXTURES
    common = ['--num-workers', 0]
    for step, *more in (
        ('fit-density', '--out', tmp_path / 'fit', '--components', 2, '--images', 3, '--pixels', 50),
        ('density', '--out', tmp_path / 'maps', '--mixtures', table),
    ):
        monkeypatch.setattr(sys, 'argv', ['offline.py', *map(str, [step, tmp_path / 'c.py', *more, *common])])
        runpy.run_path(str(ROOT / 'tools/offline.py'), run_name='__main__')
    found = json.loads((tmp_path / 'fit/manifest.json').read_text())
    assert (found['components'], found['images'], found['pixels']) == (2, 3, 50)
    assert sum(found['cells'].values()) <= 3 * 9 * 17
    assert len(read_mixtures(str(table)).weight[0]) == 2
    assert str(tmp_path) not in (tmp_path / 'maps/manifest.json').read_text()
    assert len(list((tmp_path / 'maps').glob('*.tiff'))) == 19 * SMALL_CITY['source']


def test_constant_depth_is_an_error(cfg: Config, city: Path, tmp_path: Path) -> None:
    shutil.copytree(city / 'SYNTHIA', tmp_path / 'SYNTHIA')
    for file in (tmp_path / 'SYNTHIA/Depth').rglob('*.png'):
        cv2.imwrite(str(file), np.full((64, 128), 500, np.uint16))
    cfg.train_dataloader.dataset.source.data_root = str(tmp_path)
    with pytest.raises(ValueError, match='every depth of the source is 500 cm'):
        fit_density(cfg, tmp_path / 'out', num_workers=0)


def test_a_config_without_cells(load: Callable[..., Config], tmp_path: Path) -> None:
    for name in ('baselines/minicity_source.py', 'daf_ida/minicity_stage2_isl.py'):
        with pytest.raises(ValueError, match=r'has no mmuda\.LoadLabels, mmuda\.LoadDepth and mmuda\.GridSample'):
            fit_density(load(name), tmp_path)


def test_an_absent_class_has_no_density(cfg: Config, tmp_path: Path) -> None:
    done = fit_density(cfg, tmp_path, num_workers=0)
    absent = [number for number, name in enumerate(done['classes']) if not done['cells'][name]]
    assert absent
    table = ClassDensity(str(tmp_path / density.MIXTURES))
    assert (table(torch.full((1, 9, 17), absent[0]), 100 * torch.rand(1, 1, 9, 17)) == 0).all()
    assert json.loads((tmp_path / 'manifest.json').read_text())['log_likelihood'][done['classes'][absent[0]]] is None
