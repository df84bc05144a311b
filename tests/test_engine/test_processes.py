"""Several processes (gloo on a CPU): the same gradients as one, the same weights everywhere, exact resume."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import (
    KILLED,
    ROOT,
    TINY_NECK,
    TINY_REGRESSION,
    fresh_model,
    fresh_optimizer,
    in_processes,
    kill_at,
    run_tool,
    tensors,
)
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.dist import get_rank
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmuda.engine.recipe import Recipe
from mmuda.models import StepParallel
from mmuda.models.density import write_mixtures
from mmuda.registry import DATASETS
from mmuda.utils.checkpoint import load_safe
from mmuda.utils.distributed import LaunchError, averaged_statistics, flat_statistics, launch

CROPS = {
    'ehtdi:train_dataloader.dataset.source.pipeline.4.size': (32, 32),
    'ehtdi:train_dataloader.dataset.target.pipeline.3.size': (32, 32),
}


def batch(cfg: Config, numbers: Iterator[int]) -> dict:
    if cfg.model.type == 'mmuda.HIAST':  # noise, half of whose pixels carry a label: means over pixels are over samples
        views = torch.stack([torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(n)) for n in numbers])
        label = torch.tensor([3, 255]).repeat_interleave(48).expand(len(views), 64, 96)
        return {'target': dict(image=views[:, 0], strong=views[:, 1], label=label)}
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    data = default_collate([dataset[number] for number in numbers])
    for domain in data.values():
        for name in domain.keys() & {'label', 'weak_label'}:
            domain[name][domain[name] == 255] = 0  # a mean over pixels is one over samples when none is ignored
    return data


@pytest.fixture
def cfg(load) -> Config:
    crops = {key.removeprefix('ehtdi:'): value for key, value in CROPS.items()}
    return load('ehtdi/minicity.py', **crops)


@pytest.fixture
def adversarial(load) -> Config:
    return load('baselines/minicity_advent.py')


@pytest.fixture
def minent(load) -> Config:
    return load('baselines/minicity_minent.py')


@pytest.fixture
def daf(load) -> Config:
    return load('daf_ida/minicity_stage1_daf.py')


@pytest.fixture
def density(load, tmp_path: Path) -> Config:
    """With a mixture of one component for each class."""
    grid = {'train_dataloader.dataset.source.pipeline.3.size': (17, 9)}
    cfg = load('depth_distribution/minicity_stage1_uda.py', **grid)
    table = {str(number): [(1.0, [8.0, 4.0, 10.0 * number + 1], [9.0, 4.0, 100.0])] for number in range(19)}
    (tmp_path / 'mixtures.json').write_text(write_mixtures((9, 17), table))
    cfg.model.mixtures = str(tmp_path / 'mixtures.json')
    return cfg


@pytest.fixture
def ldbe(load) -> Config:
    """With the truth in the place of pseudo-labels."""
    crop = {f'train_dataloader.dataset.target.pipeline.2.{key}': 48 for key in ('short_side', 'crop')}
    return load('ldbe/minicity.py', **crop, **{'train_dataloader.dataset.target.with_labels': True})


@pytest.fixture
def hiast(load) -> Config:
    return load('hiast/minicity.py')


# ------------------------------------------------------------------------------------------------------- one step


def _gradients(cfg: Config, data: dict) -> dict[str, Tensor]:
    """Of one step with batch norm in eval mode."""
    model = fresh_model(cfg)
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()
    model.train_step(data, fresh_optimizer(cfg, model))
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _save_gradients(folder: Path, cfg: Config) -> None:
    numbers = range(get_rank() * 2, get_rank() * 2 + 2)
    torch.save(_gradients(cfg, batch(cfg, numbers)), folder / f'{get_rank()}.pt')


@pytest.mark.parametrize('method_type', ['mmuda.EHTDI', 'mmuda.EHTDIEdge'])
def test_two_processes_have_the_gradients_of_the_joint_batch(cfg: Config, tmp_path: Path, method_type: str) -> None:
    cfg.model.type = method_type
    if method_type == 'mmuda.EHTDIEdge':  # their mean is over the border's pixels, whose number differs by sample
        cfg.model.border_weight = cfg.model.back_border_weight = 0.0
    _compare_gradients(cfg, tmp_path)


def test_two_processes_have_a_discriminators_gradients_of_the_joint_batch(adversarial: Config, tmp_path: Path) -> None:
    adversarial.model.gan_loss = 'least_squares'  # the two terms of cross entropy almost cancel out at the start
    assert any(name.startswith('discriminator.') for name in _compare_gradients(adversarial, tmp_path))


def test_two_processes_have_the_gradients_of_depth_of_the_joint_batch(daf: Config, tmp_path: Path) -> None:
    daf.model.update(gan_loss='least_squares', depth_weight=0.0)  # berHu's limit is that of a process's own batch
    daf.model.student.neck.depth_size = (8, 16)
    found = _compare_gradients(daf, tmp_path)
    assert {name.split('.')[0] for name in found} == {'student', 'discriminator'}
    assert 'student.neck.conv_depth.weight' in found  # by the adversarial term


def test_two_processes_have_the_gradients_of_density_of_the_joint_batch(density: Config, tmp_path: Path) -> None:
    limits = dict(depth_weight=0.0, source_balance_weight=0.0, target_balance_weight=0.0)  # as above
    density.model.update(gan_loss='least_squares', **limits)
    found = _compare_gradients(density, tmp_path)
    assert 'student.density_head.conv1.weight' in found  # by the adversarial term


@pytest.mark.parametrize('name', ['baselines/minicity_minent.py', 'daf_ida/minicity_stage2_isl.py'])
def test_two_processes_have_the_gradients_of_the_other_baselines(load, tmp_path: Path, name: str) -> None:
    cfg = load(name)
    cfg.train_dataloader.dataset.target.with_labels = 'isl' in name  # the truth in place of pseudo-labels
    found = _compare_gradients(cfg, tmp_path)
    assert not any(name.startswith('student.neck.conv_depth') for name in found)  # nothing there on both: no decay


@pytest.mark.parametrize('method_type', ['mmuda.LabelDenoising', 'mmuda.BoundaryEnhancement'])
def test_two_processes_have_ldbes_gradients_of_the_joint_batch(
    ldbe: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method_type: str
) -> None:
    ldbe.model.type = method_type
    # What is pasted would come from the next image of a process's own batch.
    monkeypatch.setattr('mmuda.models.uda.ldbe.class_mix', lambda image, label, conf, keys: (image, label, conf))
    _compare_gradients(ldbe, tmp_path)


def test_two_processes_have_the_gradients_of_self_training_on_the_joint_batch(hiast: Config, tmp_path: Path) -> None:
    assert not any(name.startswith('teacher.') for name in _compare_gradients(hiast, tmp_path))


def _compare_gradients(cfg: Config, tmp_path: Path) -> set[str]:
    joint = _gradients(cfg, batch(cfg, range(4)))
    in_processes(_save_gradients, tmp_path, cfg)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    assert first.keys() == second.keys() == joint.keys()
    for name, gradient in joint.items():
        assert torch.equal(first[name], second[name])
        assert (first[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name
    return set(joint)


# ------------------------------------------------------------------------------------------------------- ten steps


def _train_ten(folder: Path, cfg: Config) -> None:
    model = fresh_model(cfg)
    wrapper = fresh_optimizer(cfg, model)
    data = batch(cfg, range(get_rank() * 2, get_rank() * 2 + 2))
    losses = [model.train_step(data, wrapper)['loss'] for _ in range(10)]
    own = flat_statistics(model)
    with averaged_statistics(model):
        mean = flat_statistics(model)
    assert torch.equal(flat_statistics(model), own)
    parameters = dict(model.named_parameters())
    steps = tensors(wrapper.state_dict())
    torch.save(dict(losses=losses, own=own, mean=mean, parameters=parameters, steps=steps), folder / f'{get_rank()}.pt')


@pytest.mark.parametrize(
    ('settings', 'beside'),
    [
        ('cfg', 'teacher'),
        ('minent', 'student'),
        ('daf', 'discriminator'),
        ('density', 'discriminator'),
        ('ldbe', 'teacher'),
        ('hiast', 'teacher'),
    ],
)
def test_processes_stay_equal_but_for_their_statistics(
    settings: str, beside: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    in_processes(_train_ten, tmp_path, request.getfixturevalue(settings))
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    assert first['losses'] == second['losses']
    assert any(name.startswith(beside) for name in first['parameters'])
    for name, parameter in first['parameters'].items():
        assert torch.equal(parameter, second['parameters'][name]), name
    assert first['steps']
    for name, value in first['steps'].items():
        assert torch.equal(value, second['steps'][name]), name
    assert not torch.equal(first['own'], second['own'])
    assert torch.equal(first['mean'], second['mean'])
    torch.testing.assert_close(first['mean'], (first['own'] + second['own']) / 2)


# ---------------------------------------------------------------------------------------------------- whole runs


METHODS = {
    'ehtdi/minicity.py': ('01_ehtdi', CROPS),
    'baselines/minicity_minent.py': ('01_minent', {}),
    'daf_ida/minicity_stage1_daf.py': ('01_daf', TINY_NECK),
    'depth_distribution/minicity_stage1_uda.py': (
        '02_uda',
        TINY_REGRESSION | {'train_dataloader.dataset.source.pipeline.3.size': (17, 9)},
    ),
    'hiast/minicity.py': (
        '07_round3',
        {f'labels{n}:selector.{key}': 0.0 for n in (1, 2, 3) for key in ('beta', 'gamma')}  # no network was trained
        | {f'round{n}:train_dataloader.dataset.target.pipeline.4.heights': (20, 60) for n in (1, 2, 3)},
    ),
}


def _run(folder: Path, config: str, options: dict, work_dir: str, death: tuple[str, int] | None) -> None:
    """Train the recipe; die, both processes, at an event of an iteration of the last stage."""
    stage, settings = METHODS[config]
    more = {'train_cfg.max_iters': 6, 'train_cfg.val_interval': 4, 'default_hooks.checkpoint.interval': 2}
    more |= {'source:train_cfg.max_iters': 1, 'train_dataloader.batch_size': 1, 'default_hooks.logger.interval': 3}
    if death is not None:
        kill_at(*death, stage)
    Recipe.load(ROOT / 'configs' / config, folder / work_dir, options=options | settings | more, resume=True).run()


@pytest.mark.parametrize(
    ('config', 'death'),
    [
        ('ehtdi/minicity.py', ('after_val_epoch', 4)),
        pytest.param('ehtdi/minicity.py', ('before_train_iter', 3), marks=pytest.mark.slow),
        pytest.param('baselines/minicity_minent.py', ('before_train_iter', 3), marks=pytest.mark.slow),
        pytest.param('daf_ida/minicity_stage1_daf.py', ('before_train_iter', 3), marks=pytest.mark.slow),
        pytest.param('depth_distribution/minicity_stage1_uda.py', ('after_train_iter', 2), marks=pytest.mark.slow),
        pytest.param('hiast/minicity.py', ('before_train_iter', 3), marks=pytest.mark.slow),
    ],
)
def test_two_killed_processes_resume_exactly(
    options: dict, tmp_path: Path, config: str, death: tuple[str, int]
) -> None:
    in_processes(_run, tmp_path / 'a', config, options, 'run', None)
    stage, _ = METHODS[config]
    whole = load_safe(tmp_path / f'a/run/{stage}/iter_6.pth')
    with pytest.raises(KILLED):
        in_processes(_run, tmp_path / 'b', config, options, 'run', death)
    in_processes(_run, tmp_path / 'b', config, options, 'run', None)
    resumed = load_safe(tmp_path / f'b/run/{stage}/iter_6.pth')
    one, two = tensors(whole), tensors(resumed)
    assert one.keys() == two.keys()
    torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)  # a class that no image shows scores nan
    assert whole['rank_statistics'].shape[0] == 2
    assert not torch.equal(*whole['rank_statistics'])
    assert one['.message_hub.log_scalars.train/loss.0'].shape == (6,)


def test_synchronised_batch_norms_are_plain_ones_on_a_cpu() -> None:
    """Torch's own would end the first step of several processes."""
    net = nn.Sequential(nn.SyncBatchNorm(3))
    weight = net[0].weight
    (layer,) = StepParallel(net).module
    assert isinstance(layer, _BatchNorm)
    assert not isinstance(layer, nn.SyncBatchNorm)
    assert layer.weight is weight


def test_the_scripts(options: dict, city: Path, tmp_path: Path) -> None:
    settings = options | {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2}
    given = [f'{key}={str(value).replace(" ", "")}' for key, value in settings.items()]
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHON': os.sys.executable}

    def bash(*command: object) -> str:
        done = subprocess.run(['bash', *map(str, command)], capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    config, common = 'configs/baselines/minicity_source.py', ('--data-root', city, '--cfg-options', *given)
    text = bash('tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'run', *common)
    assert text.count('finished: ') == 1  # one process speaks
    given = [item.replace('val_data', 'test_data') for item in given if item.startswith(('model', 'minicity', 'val'))]
    common = ('--data-root', city, '--cfg-options', *given)
    two = bash('tools/dist_test.sh', config, tmp_path / 'run', 2, *common)
    one = run_tool('test.py', config, tmp_path / 'run', *common).stdout
    found = [re.findall(r'mIoU: [\d.]+.*?  data_time', output)[-1] for output in (text, two, one)]
    assert found[0] == found[1] == found[2]


def test_a_launcher_needs_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LaunchError, match=r'needs torchrun.*dist_train\.sh'):
        launch('pytorch')
    with pytest.raises(LaunchError, match=r'needs srun.*slurm_train\.sh'):
        launch('slurm')
