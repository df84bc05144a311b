"""What several test files use: paths, the small city, and runs of the real commands."""

import copy
import json
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor

from mmuda.engine.recipe import Recipe
from mmuda.models.uda import UDASegmentor
from mmuda.registry import MODELS
from mmuda.utils.checkpoint import load_safe
from mmuda.utils.logs import scalars

ROOT = Path(__file__).parents[1]

# The smallest networks of the configs' two kinds, on images of 64 x 128.
TINY = {
    'model.student.backbone.depth': 10,
    'model.student.backbone.base_channels': 4,
    'model.student.backbone.stem_channels': 4,
    'model.student.decode_head.in_channels': 32,
    'model.student.auxiliary_head.in_channels': 16,
}
TINY_NECK = {'model.student.neck.in_channels': (4, 8, 16, 32)}
TINY_REGRESSION = {
    f'model.student.{head}.{key}': channels
    for head in ('density_head', 'depth_head')
    for key, channels in (('in_channels', 32), ('mid_channels', 8), ('out_channels', 4))
}
TINY_MIT = {
    'model.student.backbone.embed_dims': 4,
    'model.student.backbone.num_layers': [1, 1, 1, 1],
    'model.student.decode_head.in_channels': [4, 8, 20, 32],
    'model.student.decode_head.channels': 8,
}
# Sizes in the configs, and what stands for them on images of 64 x 128.
SIZES = {
    (2048, 1024): (128, 64),
    (1800, 900): (112, 56),
    (1536, 768): (96, 48),
    (768, 1024): (36, 48),
    (512, 1024): (32, 64),
    (80, 160): (32, 64),
    (1280, 720): (128, 72),
    (1280, 760): (128, 76),
    (1280, 640): (128, 64),
    (1024, 768): (128, 96),
    (1024, 512): (128, 64),
    (640, 320): (64, 32),
    (512, 512): (33, 33),
    (256, 128): (128, 64),
    (96, 96): (32, 32),
    (161, 96): (17, 10),  # the grids of Depth Distribution's features
    (81, 41): (9, 5),
    (33, 17): (17, 9),
}
SMALL_CITY = dict(seed=0, shift='medium', size=[64, 128], source=8, target_train=8, target_val=3)
# What makes a minicity config run on it with the tiny network.
SMALL = {
    **TINY,
    **{f'minicity.{key}': value for key, value in SMALL_CITY.items()},
    'val_dataloader.dataset.pipeline.2.scale': (128, 64),
}


def tiny(cfg: Config) -> dict:
    """The options that make a config's network tiny."""
    student = cfg.model.student
    options = TINY_MIT if student.backbone.type == 'MixVisionTransformer' else TINY | TINY_NECK | TINY_REGRESSION
    if student.backbone.type == 'ResNet':
        options = options | {'model.student.backbone.depth': 18}  # the smallest of the stock ones
    return {key: value for key, value in options.items() if student.get(key.split('.')[2])}


def shrink(cfg: Any) -> None:
    """Replace sizes wherever the config names one."""
    if isinstance(cfg, dict) and cfg.get('type') == 'mmuda.ShortSideRandomScaleCrop':
        cfg.update(short_side=64, crop=40)
    if isinstance(cfg, dict) and cfg.get('type') == 'mmuda.RandomSizedCrop':
        cfg.update(heights=(20, 60))
    if isinstance(cfg, dict) and cfg.get('split') == 'gta5_hiast.txt':
        cfg.update(split='train')
    for key, value in list(cfg.items()) if isinstance(cfg, dict) else list(enumerate(cfg)):
        if isinstance(value, (list, tuple)) and tuple(map(str, value)) in {tuple(map(str, size)) for size in SIZES}:
            cfg[key] = SIZES[tuple(value)]
        elif isinstance(value, (dict, list)):
            shrink(value)


def make_small(cfg: Config) -> None:
    """Give a config the tiny network and small images, and, where it wants a MiniCity, the small one."""
    cfg.merge_from_dict(tiny(cfg))
    shrink(cfg.test_pipeline)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        shrink(loader)
        loader.num_workers, loader.persistent_workers = 0, False
    if 'minicity' in cfg:
        cfg.minicity.update(SMALL_CITY)


def make_short(recipe: Recipe) -> None:
    """Let every stage train two iterations, and validate after them."""
    for stage in recipe.stages:
        before = stage.inputs['continues'].stage.cfg.train_cfg.max_iters if 'continues' in stage.inputs else 0
        stage.cfg.train_cfg.max_iters, stage.cfg.train_cfg.val_interval = before + 2, 2


def small_recipe(name: str, work_dir: Path, **settings: object) -> Recipe:
    """A config's recipe with tiny networks on small images, two iterations per stage."""
    recipe = Recipe.load(ROOT / 'configs' / name, work_dir, **settings)
    for stage in recipe.stages:
        make_small(stage.cfg)
    make_short(recipe)
    return recipe


def stamp(stage: Path) -> dict:
    """What a stage says of itself."""
    return json.loads((stage / 'stamp.json').read_text())


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run_tool(name: str, *arguments: object) -> Done:
    """Run a command of tools/ in a process of its own: a fork, which need not import everything anew."""

    def work() -> None:
        for number, file in enumerate(outputs, start=1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = (open(number, 'w', buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        for manager in (DefaultScope, MMLogger, MessageHub):  # what this process knows by name
            manager._instance_dict.clear()
        os.chdir(ROOT)
        sys.argv = [name, *map(str, arguments)]
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')

    with TemporaryFile('w+') as out, TemporaryFile('w+') as err:
        outputs = out, err
        process = multiprocessing.get_context('fork').Process(target=work)
        process.start()
        process.join()
        texts = []
        for file in outputs:
            file.seek(0)
            texts.append(file.read())
    return Done(process.exitcode, *texts)


def actions(recipe: Recipe) -> list[str]:
    """What is planned for each stage."""
    return [decision.action for _, decision in recipe.plan()]


def die(work: Callable[[], object]) -> None:
    """Do something in a child process that kills itself on the way."""
    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def kill_at(event: str, iteration: int, stage: str) -> None:
    """Let this process get a SIGKILL when a stage comes to an event at an iteration."""
    plain = Runner.call_hook

    def call_hook(self: Runner, name: str, **kwargs: object) -> None:
        if name == event and self.iter == iteration and self.work_dir.endswith(stage):
            os.kill(os.getpid(), signal.SIGKILL)
        plain(self, name, **kwargs)

    Runner.call_hook = call_hook


def run_and_die(recipe: Recipe, event: str, iteration: int, stage: str) -> None:
    """Run in a process that gets a SIGKILL when a stage comes to an event at an iteration."""

    def work() -> None:
        kill_at(event, iteration, stage)
        recipe.run()

    die(work)


def write_and_die(recipe: Recipe, stage: str, files: int) -> None:
    """Run in a process that gets a SIGKILL when an offline stage has written some label files."""

    def work() -> None:
        plain, written = os.replace, []

        def replace(source: str, target: str) -> None:
            plain(source, target)
            if Path(target).suffix == '.png' and stage in str(target):
                written.append(target)
            if len(written) == files:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace
        recipe.run()

    die(work)


def in_processes(work: Callable[..., object], folder: Path, *args: object, count: int = 2) -> None:
    """Call ``work(folder, *args)`` in processes that have met; ends with an exception if one of them fails."""
    folder.mkdir(exist_ok=True)
    (folder / 'store').unlink(missing_ok=True)
    mp.start_processes(_enter, args=(count, work, folder, *args), nprocs=count, start_method='fork')


def _enter(rank: int, count: int, work: Callable[..., object], folder: Path, *args: object) -> None:
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=count)
    work(folder, *args)
    torch.distributed.destroy_process_group()


KILLED = (mp.ProcessExitedException, mp.ProcessRaisedException)
"""How :func:`in_processes` ends when all are killed: one may miss another before."""


def logged(folder: Path) -> dict[tuple[int, bool], dict]:
    """The logged values by step and kind, times aside."""
    return {
        key: {name: value for name, value in values.items() if 'time' not in name}
        for key, values in scalars(folder).items()
    }


def assert_equal_runs(one: Path, two: Path, steps: int, first: int = 1) -> None:
    """Two stages' folders hold the same weights, optimiser, best checkpoint and, from a step on, logged values."""
    last = f'iter_{steps}.pth'
    for name in (last, 'best.pth'):
        a, b = (load_safe(folder / name) for folder in (one, two))
        assert a['state_dict'].keys() == b['state_dict'].keys()
        for key, value in a['state_dict'].items():
            assert torch.equal(value, b['state_dict'][key]), (name, key)
        assert a['message_hub']['runtime_info']['best_score'] == b['message_hub']['runtime_info']['best_score']
    a, b = (tensors(load_safe(folder / last)['optimizer']) for folder in (one, two))
    assert a.keys() == b.keys() != set()
    assert all(torch.equal(value, b[key]) for key, value in a.items())
    wanted = {key: values for key, values in logged(one).items() if key[0] >= first}
    assert [step for step, validated in wanted if not validated] == list(range(first, steps + 1))
    assert str(wanted) == str(logged(two))  # as text: a class that no image shows has a score of nan


def assert_equal_labels(one: Path, two: Path) -> None:
    """Two folders of labels, and of lists where a step writes some, are the same to the byte."""
    files = sorted(file.relative_to(one) for kind in ('*.png', '*.txt') for file in one.rglob(kind))
    assert sum(file.suffix == '.png' for file in files) == SMALL_CITY['target_train']
    assert files == sorted(file.relative_to(two) for kind in ('*.png', '*.txt') for file in two.rglob(kind))
    assert all((one / file).read_bytes() == (two / file).read_bytes() for file in files)


def tensors(node: object, name: str = '') -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its place in it, times aside."""
    if isinstance(node, Tensor):
        return {} if 'time' in name else {name: node}
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    return {place: tensor for key, item in items for place, tensor in tensors(item, f'{name}.{key}').items()}


def fresh_model(cfg: Config) -> UDASegmentor:
    """A config's model with the same random weights each time, in train mode; seeds what a step draws, too."""
    set_random_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def fresh_optimizer(cfg: Config, model: UDASegmentor) -> OptimWrapper | OptimWrapperDict:
    """The optimisers that a config gives a model."""
    return build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))


def save_network(cfg: Config, folder: Path) -> tuple[Path, Path]:
    """The config and a fresh network of it as files, for tools that take a trained one."""
    torch.save({'state_dict': fresh_model(cfg).state_dict()}, folder / 'network.pth')
    cfg.dump(folder / 'config.py')
    return folder / 'config.py', folder / 'network.pth'


def load_golden(paper: str, name: str) -> dict[str, np.ndarray]:
    """The reference's numbers in a file of ``tests/golden``."""
    with np.load(ROOT / 'tests/golden' / paper / f'{name}.npz') as file:
        return dict(file)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}
