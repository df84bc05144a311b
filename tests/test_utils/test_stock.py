"""Networks that leave for stock mmseg: nothing of this package is needed, and they predict the same."""

import ast
import importlib
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, fresh_model
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

from mmuda.models.heads import SummedASPPHead
from mmuda.utils.inference import load_model
from mmuda.utils.stock import module_source, stock_config

SIZES = {'test_pipeline.1.scale': (96, 48)}
FIT = dict(
    type='PackSegInputs',
    meta_keys=('img_path', 'ori_shape', 'img_shape', 'pad_shape', 'padding_size', 'flip', 'flip_direction'),
)
# name -> config, more settings, classes that mmseg lacks
LEAVING = {
    'ehtdi': ('ehtdi/minicity.py', {}, ['CeilResNet', 'SummedASPPHead']),
    'mit-b0': ('ehtdi/minicity_mit-b0.py', {}, []),
    'once': ('daf_ida/minicity.py', {'model.resize_once': True}, ['CeilResNet', 'SummedASPPHead', 'DepthGuide']),
    'fit': (
        'ldbe/minicity.py',
        {'test_pipeline.1.type': 'mmuda.FitPad', 'test_pipeline.2': FIT},
        ['CeilResNet', 'SummedASPPHead', 'FitPad'],
    ),
}
# What stock mmseg does with the files, in a process in which this package cannot be imported.
STOCK = """
import json, sys
from pathlib import Path
sys.modules['mmuda'] = None
import numpy as np
from mmseg.apis import MMSegInferencer, inference_model, init_model
folder, image = Path(sys.argv[1]), sys.argv[2]
classes = {}
for config in sorted(set(folder.glob('*.py')) - set(folder.glob('*_network.py'))):
    model = init_model(str(config), str(config.with_suffix('.pth')), device='cpu')
    label = inference_model(model, image).pred_sem_seg.data[0].numpy().astype('uint8')
    np.save(config.with_suffix('.npy'), label)
    classes[config.stem] = len(model.dataset_meta['classes'])
inferencer = MMSegInferencer(model=str(config), weights=str(config.with_suffix('.pth')), device='cpu')
assert (inferencer(image, return_datasamples=True).pred_sem_seg.data[0].numpy() == label).all()
print(json.dumps([classes, sorted(name for name, module in sys.modules.items() if module and name[:6] == 'mmuda.')]))
"""


def trained(load: Callable[..., Config], name: str, settings: dict) -> tuple[Config, dict]:
    """A config and a network of it whose predictions and statistics vary, its teacher unlike its student."""
    cfg = load(name, **SIZES, **settings)
    torch.manual_seed(0)
    model = fresh_model(cfg)
    for key, value in model.state_dict().items():
        if key.endswith('running_mean'):
            value.normal_(std=0.1)
        elif value.dim() > 1 and 'head' in key:
            value.normal_()
    return cfg, model.state_dict()


def predict(cfg: Config, checkpoint: Path, image: str) -> np.ndarray:
    """What tools/test.py predicts for an image file."""
    init_default_scope('mmuda')
    model = load_model(cfg, checkpoint)
    with torch.no_grad():
        [sample] = model.test_step(pseudo_collate([Compose(cfg.test_pipeline)({'img_path': image})]))
    return sample.pred_sem_seg.data[0].numpy()


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the command in this process."""

    def call(*arguments: object) -> None:
        monkeypatch.setattr(sys, 'argv', ['convert_checkpoint.py', '--to-mmseg', *map(str, arguments)])
        runpy.run_path(str(ROOT / 'tools/convert_checkpoint.py'), run_name='__main__')

    return call


def test_stock_mmseg_predicts_the_same_without_this_package(
    load: Callable[..., Config], leave: Callable[..., None], city: Path, tmp_path: Path
) -> None:
    image = tmp_path / 'photo.png'
    [path, *_] = sorted((city / 'cityscapes/leftImg8bit/val').rglob('*.png'))
    Image.open(path).resize((150, 70)).save(image)  # fits neither the network's size nor its aspect ratio
    wanted = {}
    for name, (config, settings, lacking) in LEAVING.items():
        cfg, state = trained(load, config, settings)
        files = tmp_path / f'{name}.py', tmp_path / f'{name}.pth'
        cfg.dump(files[0])
        torch.save({'state_dict': state}, files[1])
        leave(*files, tmp_path / f'left/{name}.pth')
        wanted[name] = predict(cfg, files[1], str(image))
        assert len(np.unique(wanted[name])) > 3, name
        assert [one.__name__ for one in stock_config(cfg)[1]] == lacking
        assert list((tmp_path / 'left').glob(f'{name.replace("-", "_")}_network.py')) != [] or not lacking
    twice = load(LEAVING['once'][0], **SIZES)
    assert not np.array_equal(predict(twice, tmp_path / 'once.pth', str(image)), wanted['once'])
    command = [sys.executable, '-c', STOCK, str(tmp_path / 'left'), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    classes, modules = json.loads(done.stdout.splitlines()[-1])
    assert classes == dict.fromkeys(LEAVING, 19)
    assert modules == []
    for name, label in wanted.items():
        assert np.array_equal(np.load(tmp_path / f'left/{name}.npy'), label), name


def test_what_is_left_is_the_network_that_the_config_evaluates(
    load: Callable[..., Config], leave: Callable[..., None], tmp_path: Path
) -> None:
    cfg, state = trained(load, 'ehtdi/minicity.py', {})
    cfg.model.student.backbone.init_cfg = dict(type='Pretrained', checkpoint='imagenet.pth')
    cfg.dump(tmp_path / 'config.py')
    torch.save({'state_dict': state}, tmp_path / 'network.pth')
    leave(tmp_path / 'config.py', tmp_path / 'network.pth', tmp_path / 'left.pth')
    left = torch.load(tmp_path / 'left.pth', weights_only=True)
    teacher = {key.removeprefix('teacher.model.'): value for key, value in state.items() if key.startswith('teacher.m')}
    assert left['state_dict'].keys() == teacher.keys()
    assert all(torch.equal(left['state_dict'][key], value) for key, value in teacher.items())
    weight = 'decode_head.convs.0.weight'
    assert not torch.equal(teacher[weight], state[f'student.{weight}'])
    assert 'imagenet' not in (tmp_path / 'left.py').read_text()
    assert (tmp_path / 'left_network.py').is_file()


def test_what_cannot_leave(load: Callable[..., Config], leave: Callable[..., None], tmp_path: Path) -> None:
    cfg, state = trained(load, 'baselines/minicity_source.py', {})
    cfg.dump(tmp_path / 'config.py')
    torch.save({'state_dict': state}, tmp_path / 'network.pth')
    with pytest.raises(SystemExit, match=r'config\.py is to hold the new config: give the checkpoint another name'):
        leave(tmp_path / 'config.py', tmp_path / 'network.pth', tmp_path / 'config.pth')
    with pytest.raises(SystemExit, match='is neither a checkpoint nor'):
        leave(tmp_path / 'config.py', tmp_path / 'absent.pth', tmp_path / 'left.pth')
    with pytest.raises(SystemExit):  # argparse
        leave(tmp_path / 'config.py', tmp_path / 'network.pth', tmp_path / 'left.pth', '--classes', 16)
    cfg.pop('test_pipeline')
    cfg.dump(tmp_path / 'less.py')
    with pytest.raises(SystemExit, match=r'less\.py has no model\.student or no test_pipeline'):
        leave(tmp_path / 'less.py', tmp_path / 'network.pth', tmp_path / 'left.pth')
    assert sorted(file.suffix for file in tmp_path.iterdir()) == ['.pth', '.py', '.py']


def test_a_module_holds_what_its_classes_use_and_no_more() -> None:
    source = module_source([SummedASPPHead])
    found = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    assert found == {'SummedASPPHead'}
    assert 'from mmseg.registry import MODELS' in source
    assert 'ResNet' not in source


def test_a_module_that_would_be_ambiguous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ('one_net', 'other_net'):
        text = f'SCALE = 2\n\n\nclass {name.title()}:\n    scale = SCALE\n'
        (tmp_path / f'{name}.py').write_text(text)
    (tmp_path / 'by_module.py').write_text('from mmuda.models import losses\n\n\nclass Net:\n    loss = losses.berhu\n')
    first, second, third = map(importlib.import_module, ('one_net', 'other_net', 'by_module'))
    assert module_source([first.One_Net]).split() == (tmp_path / 'one_net.py').read_text().split()
    with pytest.raises(ValueError, match='other_net and one_net both define SCALE: rename one'):
        module_source([first.One_Net, second.Other_Net])
    with pytest.raises(ValueError, match=r'by_module uses mmuda\.models\.losses as a module'):
        module_source([third.Net])
