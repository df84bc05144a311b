"""Networks as ONNX: what is written is what is predicted, and nothing is written that is not."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, save_network
from mmengine.config import Config

from mmuda.utils.inference import load_model

TOOL = runpy.run_path(str(ROOT / 'tools/export.py'))


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the command in this process."""

    def call(*arguments: object) -> None:
        monkeypatch.setattr(sys, 'argv', ['export.py', *map(str, arguments)])
        TOOL['main']()

    return call


@pytest.fixture
def network(load: Callable[..., Config], tmp_path: Path) -> tuple[Path, Path]:
    return save_network(load('daf_ida/minicity.py', **{'test_pipeline.1.scale': (96, 48)}), tmp_path)


def test_the_exported_graph_predicts_what_the_model_predicts(network: tuple[Path, Path]) -> None:
    model = load_model(Config.fromfile(network[0]), network[1])
    model.data_preprocessor.mean.copy_(torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1))  # no channel is like another
    image = TOOL['blobs'](48, 96)
    with torch.no_grad():
        [logits] = TOOL['Exported'](model).eval()(image)
    wanted = TOOL['predicted'](model, image)
    assert logits.shape == (19, 48, 96)
    np.testing.assert_allclose(logits.numpy(), wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert image.float().std() > 20


def test_export_names_what_is_missing(export, network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(SystemExit, match=r'error: onnxruntime is missing: pip install "mmuda\[onnx\]"'):
        export(*network, tmp_path / 'out.onnx')


def test_export_is_checked_by_onnxruntime(
    export, network, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(module)
    import onnxruntime

    export(*network, tmp_path / 'out.onnx')
    assert 'for images of 48x96; logits up to' in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / 'out.onnx'))
    [image], [logits] = session.get_inputs(), session.get_outputs()
    assert (image.type, image.shape, logits.shape) == ('tensor(uint8)', [1, 3, 48, 96], [1, 19, 48, 96])
    with pytest.raises(ValueError, match='predicts something else, so no file is left'):
        TOOL['check'](tmp_path / 'out.onnx', TOOL['blobs'](48, 96), np.ones((19, 48, 96), np.float32))
    config, checkpoint = network
    cfg = Config.fromfile(config)
    cfg.pop('test_pipeline')
    cfg.dump(tmp_path / 'less.py')
    with pytest.raises(SystemExit, match=r'less\.py has no test_pipeline with a scale: name the --size'):
        export(tmp_path / 'less.py', checkpoint, tmp_path / 'other.onnx')
    monkeypatch.setitem(TOOL['export'].__globals__, 'TOLERANCE', -1)
    with pytest.raises(SystemExit, match='no file is left'):
        export(config, checkpoint, tmp_path / 'other.onnx')
    assert not list(tmp_path.glob('other*'))
