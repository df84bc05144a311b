"""The sheet of what a network will see."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, SMALL_CITY, fresh_model, save_network
from mmengine.config import Config
from mmengine.runner import Runner

from mmuda.utils.browse import browse, loaded_rows
from mmuda.utils.depth import nearness

CROP = {
    'train_dataloader.dataset.source.pipeline.4.size': (32, 32),
    'train_dataloader.dataset.target.pipeline.3.size': (32, 32),
}
LOADED = ['source', 'source label', 'source weak', 'source strong', 'source weak label', 'target', 'target weak',
          'target strong']  # fmt: skip


@pytest.fixture
def cfg(load: Callable[..., Config]) -> Config:
    """EHTDI on the small city."""
    return load('ehtdi/minicity.py', **CROP)


def test_the_first_batches_of_a_run(cfg: Config) -> None:
    rows = list(browse(cfg, 3))  # of batches of two
    assert [[*row] for row in rows] == [LOADED] * 3
    batches = iter(Runner.build_dataloader(cfg.train_dataloader, seed=cfg.randomness.seed))
    one, two = next(batches), next(batches)
    assert np.array_equal(rows[1]['source'], one['source']['image'][1].permute(1, 2, 0))
    assert np.array_equal(rows[2]['source weak label'], two['source']['weak_label'][0])
    assert np.array_equal(rows[2]['target strong'], two['target']['strong'][0].permute(1, 2, 0))


def test_depth_is_a_map_of_nearness() -> None:
    depth = torch.tensor([[[100, 1000], [65535, 0]]], dtype=torch.uint16)
    found = loaded_rows({'source': {'image': torch.zeros(1, 3, 2, 2, dtype=torch.uint8), 'depth': depth}})[0]
    wanted = nearness(torch.tensor([[1.0, 10.0], [655.35, 0.0]]))
    assert np.allclose(found['source depth'], wanted, atol=1e-6)


def test_what_the_method_makes_of_them(cfg: Config) -> None:
    model = fresh_model(cfg)
    before = {name: value.clone() for name, value in model.named_parameters()}
    row = next(browse(cfg, 1, model))
    made = ['teacher on target', 'pseudo label', 'calm', 'confidence', 'all heads on calm', 'mixed', 'mixed label']
    assert [*row][: len(LOADED) + len(made)] == LOADED + made
    pasted = (row['mixed'] == row['source weak']).all(-1)
    kept = (row['calm'] == row['target weak']).all(-1)
    assert (pasted | kept).all()  # every pixel of a mix comes from one of the two
    assert model.notes is None
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs browse_dataset.py in this process; returns what it prints. A failure is a SystemExit with the message."""
    main = runpy.run_path(str(ROOT / 'tools/browse_dataset.py'))['main']

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', ['browse_dataset.py', *map(str, arguments)])
        main()
        return capsys.readouterr().out

    return call


def test_the_command(tool: Callable[..., str], cfg: Config, city: Path, tmp_path: Path) -> None:
    config, network = save_network(cfg, tmp_path)
    out = tmp_path / 'sheets/sheet.png'
    assert tool(config, '--count', 1, '--out', out) == f'1 sample(s) in {out}\n'
    plain = cv2.imread(str(out))
    tool(config, network, '--count', 1, '--out', out)
    assert cv2.imread(str(out)).shape[0] > plain.shape[0]  # a further line of columns
    with pytest.raises(SystemExit, match='is neither a checkpoint nor a run'):
        tool(config, tmp_path, '--out', out)

    with pytest.raises(SystemExit, match='loads no labels of the target'):
        tool(config, '--out', out, '--label-dir', tmp_path)


def test_pseudo_labels(tool: Callable[..., str], load: Callable[..., Config], city: Path, tmp_path: Path) -> None:
    cfg = load('ldbe/minicity.py')
    images, labels = city / 'cityscapes/leftImg8bit', tmp_path / 'labels'
    for image in images.glob('train/*/*.png'):
        label = labels / image.relative_to(images)
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_bytes(cv2.imencode('.png', np.full(SMALL_CITY['size'], 3, np.uint8))[1])
    cfg.dump(tmp_path / 'config.py')
    tool(tmp_path / 'config.py', '--count', 1, '--out', tmp_path / 'sheet.png', '--label-dir', labels)
    cfg.train_dataloader.dataset.target.label_dir = str(labels)
    row = next(browse(cfg, 1))
    assert [*row] == ['target', 'target label']
    assert set(np.unique(row['target label'])) == {3}
    label.unlink()
    with pytest.raises(SystemExit, match='asked for by its image'):
        tool(tmp_path / 'config.py', '--out', tmp_path / 'sheet.png', '--label-dir', labels)
