"""The kinds of stages: what each is given, what it does, what it hands over.

.. code:: text

 kind     is given                          does               hands over
 Train    load_from or continues, labels,   trains a config    last, best: checkpoints
          ranking, mixtures
 Offline  perhaps checkpoint                one of OFFLINE     folder: files and the manifest that lists them
"""

import copy
import inspect
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mmengine import Config
from mmengine.dist import get_world_size, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner, set_random_seed

from mmuda.engine.hooks.label_firewall import firewalls
from mmuda.engine.hooks.start import StartHook
from mmuda.engine.stamps import MANIFEST, code_hash, config_hash, file_hash, read_stamp, stamped
from mmuda.offline.density import MIXTURES, fit_density
from mmuda.offline.pseudo_labels import write_pseudo_labels
from mmuda.offline.ranking import EASY, HARD, rank_images
from mmuda.offline.selectors import build_selector
from mmuda.utils.checkpoint import load_safe

OFFLINE: dict[str, Callable] = {
    'PseudoLabels': write_pseudo_labels,
    'Ranking': rank_images,
    'FitDensity': fit_density,
}
"""Kind -> ``function(cfg, out, checkpoint=..., **settings)``, some without checkpoint, which all ranks run. It writes
into the folder ``out``, the manifest last, and goes on with what it finds there. ``cfg.randomness.seed`` is the
stage's."""


class RecipeError(RuntimeError):
    """A recipe that cannot run as asked; the message names the setting and the cure."""


@dataclass
class Input:
    """What a stage is given: an artifact of an earlier stage, or a file.

    Args:
        stage: The earlier stage; None for a file.
        artifact: Name of the artifact, or the file.
    """

    stage: 'Stage | None'
    artifact: str

    def __str__(self) -> str:
        return self.artifact if self.stage is None else f'{self.stage.name}.{self.artifact}'

    @property
    def path(self) -> str:
        """Where it lies, once the earlier stage has run."""
        if self.stage is None:
            return self.artifact
        if self.artifact not in self.stage.output:
            raise RecipeError(
                f'{self} is asked for, but {self.stage.name} kept no best checkpoint: it needs validation labels and '
                f"default_hooks.checkpoint.save_best; or use '{self.stage.name}.last'"
            )
        return self.stage.output[self.artifact]

    def described(self) -> str:
        """For the log: what is handed over, from where."""
        if self.stage is None:
            return self.artifact
        chosen = ', chosen with target val labels' if self.artifact == 'best' and self.stage.init is None else ''
        return f'{self} ({self.path}{chosen})'


@dataclass
class Stage:
    """One stage of a recipe.

    Args:
        index: Position in the recipe, from 0.
        kind: ``'Train'`` or a key of ``OFFLINE``.
        name: Name in the recipe; hand-overs and options refer to it.
        cfg: The resolved config.
        work_dir: Where it runs.
        seed: Seed of this stage.
        inputs: Role (``'load_from'``, ``'labels'``, ...) -> what is given.
        settings: What else the recipe says about it.
        init: A file or folder given by the user that replaces this stage.
    """

    index: int
    kind: str
    name: str
    cfg: Config
    work_dir: Path
    seed: int
    inputs: dict[str, Input]
    settings: Config
    init: Path | None = None
    output: dict[str, str] = field(default_factory=dict)  # artifact -> path, once it is there

    roles: ClassVar[dict[str, tuple[str, ...]]]  # what it can be given -> the artifacts that will do
    hands_over: ClassVar[tuple[str, ...]]
    unread: ClassVar[tuple[str, ...]] = ()  # what it never reads of its config

    @property
    def stamp_file(self) -> Path:
        """What this stage was made from, and whether it finished."""
        return self.work_dir / 'stamp.json'

    def stamp(self) -> dict:
        """The stamp in the stage's folder; empty when there is none."""
        return read_stamp(self.stamp_file)

    def identity(self) -> dict:
        """What it is made from, in JSON's types: equal identities give equal results."""
        return {
            'kind': self.kind,
            'config': config_hash(self.cfg.to_dict(), self.unread),
            'settings': stamped(self.settings.to_dict()),
            'inputs': {role: file_hash(path) for role, path in self.paths().items()},
            'code': code_hash(),
            'seed': self.seed,
            'world_size': get_world_size(),
        }

    def resolved(self) -> Config:
        """The config it runs with."""
        cfg = copy.deepcopy(self.cfg)
        cfg.work_dir = str(self.work_dir)
        # MMEngine keeps loggers and log values by this name and the second; two short stages shared them.
        cfg.experiment_name = os.path.abspath(self.work_dir)
        cfg.randomness = dict(cfg.get('randomness', {}), seed=self.seed)
        cfg.launcher = 'pytorch' if is_distributed() else 'none'  # whichever it was, the processes have met
        return cfg

    def paths(self) -> dict[str, str]:
        """Role -> where what is given lies."""
        return {role: given.path for role, given in self.inputs.items()}

    def given(self) -> str:
        """For the log: every hand-over."""
        return ', '.join(f'{role} {given.described()}' for role, given in self.inputs.items())

    def is_setting(self, name: str) -> bool:
        """Whether an option of this name is about the stage itself, not about its config."""
        return name in self.settings

    def check(self) -> None:
        """Raise a RecipeError for what cannot go well, options included."""

    def check_init(self) -> None:
        """Raise a RecipeError if what is given in its place cannot take it."""

    def artifacts(self) -> dict[str, str]:
        """Artifact -> path of what lies in its folder."""
        raise NotImplementedError

    def progress(self) -> str | None:
        """How far an unfinished stage got; None when there is nothing to go on with."""
        raise NotImplementedError

    def run(self, resumed: bool) -> dict:
        """Do it, or go on with it; returns what was measured."""
        raise NotImplementedError


class Train(Stage):
    """Trains its config.

    ``load_from`` gives the network it starts with, and the parts named in ``carry`` (see ``start_state``). With
    ``continues`` it goes on from another stage's last checkpoint as that stage itself would: weights, optimiser,
    schedule, iteration, log and best score. ``labels`` gives the target's labels; ``ranking`` gives the source the easy
    images and their labels, the target the hard images; ``mixtures`` gives the model those of its classes.
    """

    roles: ClassVar = {
        'load_from': ('last', 'best'),
        'continues': ('last',),
        'labels': ('folder',),
        'ranking': ('folder',),
        'mixtures': ('folder',),
    }
    hands_over = ('last', 'best')

    def check(self) -> None:
        """See the base class."""
        if unknown := sorted(self.settings.keys() - {'carry'}):
            raise RecipeError(f'stage {self.name} has unknown keys {unknown}')
        if 'continues' in self.inputs:
            self._check_continues(self.inputs['continues'].stage)
        if 'mixtures' in self.inputs and 'mixtures' not in self.cfg.model:
            raise RecipeError(f'stage {self.name} takes mixtures, but its model has no mixtures')
        for role, domains in (('labels', ('target',)), ('ranking', ('source', 'target'))):
            for domain in domains:
                if role in self.inputs and not self._data().get(domain):
                    raise RecipeError(f'stage {self.name} takes {role}, but has no train_dataloader.dataset.{domain}')

    def _check_continues(self, before: Stage) -> None:
        if others := [key for key in ('load_from', 'carry') if key in self.inputs or key in self.settings]:
            raise RecipeError(
                f'stage {self.name}: continues takes everything over, so leave out {" and ".join(others)}'
            )
        if self.seed != before.seed:
            raise RecipeError(f'stage {self.name} continues {before.name}, so it has its seed: leave seed out')
        for key in ('optim_wrapper', 'param_scheduler'):
            if self.cfg.get(key) != before.cfg.get(key):
                raise RecipeError(f'stage {self.name} continues {before.name}, so both need the same {key}')
        end = before.cfg.train_cfg.max_iters
        if before.init is not None:
            checkpoint = load_safe(before.init)
            if 'optimizer' not in checkpoint:
                raise RecipeError(
                    f'stage {self.name} continues {before.name}, but {before.init} holds no optimiser: '
                    f'give an iter_<n>.pth by --init {before.name}=...'
                )
            end = checkpoint['meta']['iter']
        if self.cfg.train_cfg.max_iters <= end:
            raise RecipeError(
                f'stage {self.name} continues {before.name} from iteration {end} on: '
                f'its train_cfg.max_iters={self.cfg.train_cfg.max_iters} has to be larger'
            )

    def given(self) -> str:
        """See the base class."""
        if self.inputs.keys() & {'load_from', 'continues'}:
            return super().given()
        init = self.cfg.model.get('student', {}).get('init_cfg') or {}
        start = init.get('checkpoint', 'random weights (model.student.init_cfg names a pretrained start)')
        return f'{super().given()} start from {start}'.strip()

    def check_init(self) -> None:
        """See the base class."""
        if not self.init.is_file():
            raise RecipeError(f'--init {self.name}={self.init}: no such file')

    def _data(self) -> dict:
        return self.cfg.get('train_dataloader', {}).get('dataset', {})

    def artifacts(self) -> dict[str, str]:
        """The last checkpoint, and the best where one is kept."""
        return checkpoints(self.work_dir)

    def progress(self) -> str | None:
        """The last checkpoint's name."""
        last = self.artifacts().get('last')
        return last and Path(last).name

    def run(self, resumed: bool, hooks: Sequence[Hook] = ()) -> dict:
        """Train, with further hooks; returns the last validation's scores."""
        cfg, given = self.resolved(), self.paths()
        cfg.resume = resumed or 'continues' in given
        cfg.load_from = self.artifacts()['last'] if resumed else given.get('continues', given.get('load_from'))
        if 'labels' in given:
            cfg.train_dataloader.dataset.target.label_dir = os.path.abspath(given['labels'])
        if 'mixtures' in given:
            cfg.model.mixtures = os.path.abspath(os.path.join(given['mixtures'], MIXTURES))
        if 'ranking' in given:
            folder, dataset = os.path.abspath(given['ranking']), cfg.train_dataloader.dataset
            dataset.source.update(label_dir=folder, split=os.path.join(folder, EASY))
            dataset.target.split = os.path.join(folder, HARD)
        if 'continues' in given and not resumed:
            self._take_best(self.inputs['continues'].stage)
        start = [] if cfg.resume else [StartHook(self.settings.get('carry', ()))]
        return {'scores': train(cfg, [*start, *hooks])}

    def _take_best(self, before: Stage) -> None:
        """The best score goes on from the continued stage's, so its best checkpoint comes along."""
        if is_main_process() and before.init is None and 'best' in before.output:
            part = self.work_dir / 'best.pth.part'
            shutil.copyfile(before.output['best'], part)
            os.replace(part, self.work_dir / 'best.pth')


class Offline(Stage):
    """Makes files from a checkpoint by a function of ``OFFLINE``, which gets the settings."""

    roles: ClassVar = {'checkpoint': ('last', 'best')}
    hands_over = ('folder',)
    unread = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'default_hooks', 'custom_hooks')

    def is_setting(self, name: str) -> bool:
        """Also what the function can be told, but the recipe does not say."""
        return name in inspect.signature(OFFLINE[self.kind]).parameters

    def check(self) -> None:
        """See the base class."""
        try:
            inspect.signature(OFFLINE[self.kind]).bind(
                cfg=None, out=None, **dict.fromkeys(self.inputs), **self.settings
            )
            if 'selector' in self.settings:
                build_selector(self.settings.selector)
        except (TypeError, ValueError) as error:
            raise RecipeError(f'stage {self.name}, {self.kind}: {error}') from None

    def check_init(self) -> None:
        """See the base class."""
        if not (self.init / MANIFEST).is_file():
            raise RecipeError(f'--init {self.name}={self.init}: no folder with a {MANIFEST}, as {self.kind} writes it')

    def artifacts(self) -> dict[str, str]:
        """The folder, when its manifest is there."""
        return {'folder': str(self.work_dir)} if (self.work_dir / MANIFEST).is_file() else {}

    def progress(self) -> str | None:
        """Whatever is in the folder; the function looks for itself."""
        return 'what is there'

    def run(self, resumed: bool) -> dict:
        """Call the function."""
        set_random_seed(self.seed)
        new_logger(self.work_dir / 'offline.log')  # the logger made last is the current one
        with firewalls(self.cfg):
            OFFLINE[self.kind](cfg=self.resolved(), out=self.work_dir, **self.paths(), **self.settings.to_dict())
        return {}


def checkpoints(folder: Path) -> dict[str, str]:
    """``'last'`` and ``'best'`` -> the checkpoint of a training run's folder, as far as they are there."""
    files, latest = {'best': folder / 'best.pth'}, folder / 'last_checkpoint'
    if latest.is_file():
        files['last'] = folder / Path(latest.read_text()).name
    return {artifact: str(file) for artifact, file in files.items() if file.is_file()}


def train(cfg: Config, hooks: Sequence[Hook]) -> dict[str, float]:
    """One runner from start to end, leaving no worker and no file open; returns the last validation's scores."""
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    try:
        runner.train()
        scalars = runner.message_hub.log_scalars
        return {key.removeprefix('val/'): float(scalars[key].current()) for key in scalars if key.startswith('val/')}
    finally:
        for loop in (runner._train_loop, runner._val_loop):  # the properties would build what failed to be built
            iterator = getattr(getattr(loop, 'dataloader_iterator', None), '_iterator', None)
            for workers in (iterator, getattr(getattr(loop, 'dataloader', None), '_iterator', None)):
                if hasattr(workers, '_shutdown_workers'):
                    workers._shutdown_workers()
        runner.visualizer.close()


def new_logger(file: Path) -> MMLogger:
    """A logger that also writes to a file; another one for each call."""
    return MMLogger.get_instance(f'{file} {time.time_ns()}', logger_name='mmuda', log_file=str(file), file_mode='a')
