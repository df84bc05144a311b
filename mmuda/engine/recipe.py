"""A paper's stages, one after the other, from one config.

.. code:: text

 Recipe.load()  reads the config, its `recipe` list and every stage's own config; applies options
 Recipe.plan()  compares each stage's stamp with what it would be now: done | resume | to do, and why
 Recipe.run()   locks the work_dir, then trains what is to do; each stage writes its stamp last

A stage lives in ``<work_dir>/<nn>_<name>/`` and is the same run whether it is trained in the chain or alone: its seed
is a function of the recipe's seed and its name. A stage that cannot be used again is set aside
(``<nn>_<name>.old1``), never overwritten.
"""

import copy
import fcntl
import gc
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine import Config
from mmengine.dist import barrier, get_world_size, is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner

import mmuda
from mmuda import minicity
from mmuda.utils.files import write_whole

OUTPUTS = 'outputs.json'

# What says where, how fast and how loudly a stage runs, not what it computes.
_NOT_STAMPED = (
    'recipe',
    'work_dir',
    'load_from',
    'resume',
    'visualizer',
    'vis_backends',
    'pictures',
    'log_level',
    'logger',
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'keep',
    'launcher',
    'model_wrapper_cfg',
)
# Options that would have no effect, and what has.
_ELSEWHERE = {
    'randomness': '--seed',
    'data_root': '--data-root',
    'work_dir': '--work-dir',
    'load_from': '--init STAGE=FILE',
    'resume': '--resume',
    'recipe': 'the recipe in the config file',
    'student': 'model.student',
    'data_preprocessor': 'model.data_preprocessor',
}


@dataclass
class Stage:
    """One training run of a recipe.

    Args:
        index: Position in the recipe, from 0.
        name: Name in the recipe; hand-overs and options refer to it.
        cfg: The resolved config.
        work_dir: Where it runs.
        load_from: Start weights: ``'<stage>.last'``, ``'<stage>.best'``, a file, or None.
        seed: Seed of this stage.
        init: A checkpoint given by the user that replaces this stage.
    """

    index: int
    name: str
    cfg: Config
    work_dir: Path
    load_from: str | None
    seed: int
    init: Path | None = None
    output: dict[str, str] = field(default_factory=dict)  # 'last' and 'best' -> checkpoint file

    @property
    def stamp_file(self) -> Path:
        """What this stage was made from, and whether it finished."""
        return self.work_dir / 'stamp.json'

    def stamp(self) -> dict:
        """The stamp in the stage's folder; empty when there is none."""
        return _read_stamp(self.stamp_file)


@dataclass
class Decision:
    """What to do with a stage, and why: ``todo``, ``resume``, ``done``, ``reuse`` (an equal one), ``init``."""

    action: str
    why: str
    found: dict = field(default_factory=dict)


class RecipeError(RuntimeError):
    """A recipe that cannot run as asked; the message names the setting and the cure."""


class Recipe:
    """The stages of one config; see the module.

    Args:
        stages: In order.
        work_dir: Folder of all stages.
        resume: Go on with an unfinished stage instead of setting it aside.
    """

    def __init__(self, stages: list[Stage], work_dir: Path, resume: bool = False) -> None:
        self.stages = stages
        self.work_dir = work_dir
        self.resume = resume

    # ------------------------------------------------------------------------------------------------- load

    @classmethod
    def load(
        cls,
        config: str | Path,
        work_dir: str | Path | None = None,
        *,
        options: dict | None = None,
        init: dict[str, str] | None = None,
        seed: int | None = None,
        resume: bool = False,
    ) -> 'Recipe':
        """Read a config and everything its recipe names.

        Args:
            config: Config file; without a ``recipe`` it is its own only stage.
            work_dir: Folder of the run; ``work_dirs/<folder of the config>/<its name>`` by default.
            options: Config options; ``'key'`` goes to every stage that has it, ``'STAGE:key'`` to one.
            init: Stage name -> checkpoint that replaces this stage.
            seed: Seed of the run; ``randomness.seed`` of the config by default.
            resume: See the class.

        Raises:
            RecipeError: A stage, option or file that does not exist.
        """
        config = Path(config)
        if not config.is_file():
            raise RecipeError(f'{config} is not a config file; see configs/')
        main = Config.fromfile(config)
        entries = main.get('recipe') or [{'type': 'Train', 'name': config.stem}]
        work_dir = Path(work_dir or Path('work_dirs', config.resolve().parent.name, config.stem))
        seed = main.get('randomness', {}).get('seed', 0) if seed is None else seed
        stages: list[Stage] = []
        for index, entry in enumerate(entries):
            stages.append(_read_stage(index, dict(entry), config, work_dir, seed, [stage.name for stage in stages]))
        _apply_options(stages, options or {})
        _apply_init(stages, init or {})
        return cls(stages, work_dir, resume)

    # ------------------------------------------------------------------------------------------------- plan

    def decide(self, stage: Stage) -> Decision:
        """What is to be done with a stage, given what the stages before it handed over."""
        if stage.init is not None:
            return Decision('init', f'given: {stage.init}', {'last': str(stage.init), 'best': str(stage.init)})
        before = self._source_of(stage)
        if before is not None and not before.output:
            return Decision('todo', f'after {before.name}')
        wanted, found = self._identity(stage), stage.stamp()
        differing = [key for key in wanted if found and found.get(key) != wanted[key]]
        if found.get('status') == 'done' and (not differing or (self.resume and differing == ['code'])):
            files = _files(stage.stamp_file, found)
            if not Path(files['last']).is_file():
                return Decision('todo', 'its checkpoint is gone')
            since = ', by other code of mmuda' if differing else ''
            return Decision('done', f'finished in {found["seconds"]:.0f} s{since}', files)
        elsewhere = self._find_equal(stage, wanted)
        if elsewhere is not None:
            return Decision('reuse', f'equal to {elsewhere.parent}', _files(elsewhere, _read_stamp(elsewhere)))
        if not found:
            return Decision('todo', 'not yet run')
        if found['status'] == 'done':
            return Decision('todo', f'{" and ".join(differing)} changed')
        if not self.resume:
            return Decision('todo', 'unfinished; --resume would go on')
        if differing == ['code']:
            return Decision('todo', 'unfinished, and the code of mmuda changed since')
        if differing:
            raise RecipeError(
                f'{stage.work_dir} cannot be resumed: its {" and ".join(differing)} changed since it was started. '
                'Take the change back, or start again without --resume (the old run is set aside)'
            )
        last = _outputs(stage.work_dir).get('last')
        if last is None:
            return Decision('todo', 'unfinished, no checkpoint yet')
        return Decision('resume', f'from {Path(last).name}')

    def plan(self) -> list[tuple[Stage, Decision]]:
        """Decide on every stage; one that waits for another is ``todo``."""
        decisions = []
        for stage in self.stages:
            decision = self.decide(stage)
            stage.output = decision.found
            decisions.append((stage, decision))
        return decisions

    def table(self) -> str:
        """The plan for people."""
        rows = [
            f'  {stage.index:02d}  {stage.name:<12} {decision.action:<7} {decision.why}'
            + (f'  <- {stage.load_from}' if stage.load_from else '')
            for stage, decision in self.plan()
        ]
        return '\n'.join([f'{len(rows)} stage(s) in {self.work_dir}', *rows])

    # -------------------------------------------------------------------------------------------------- run

    def run(self) -> Path:
        """Run what is to be done; returns the last stage's last checkpoint."""
        with _locked(self.work_dir):
            logger = MMLogger.get_instance(
                str(self.work_dir), logger_name='mmuda', log_file=str(self.work_dir / 'recipe.log'), file_mode='a'
            )
            logger.info(self.table())
            for stage in self.stages:
                decision = self.decide(stage)
                stage.output = decision.found
                barrier()  # every process has decided before the first one changes a file
                if not decision.found:
                    self._train(stage, decision, logger)
                self._write_outputs()
                barrier()
            last = Path(self.stages[-1].output['last'])
            logger.info(f'finished: {last}')
            return last

    def _write_outputs(self) -> None:
        """Say where each stage's checkpoints lie, for a stage may have been given or found elsewhere."""
        if is_main_process():
            files = {
                stage.name: {kind: os.path.relpath(file, self.work_dir) for kind, file in stage.output.items()}
                for stage in self.stages
            }
            write_whole(self.work_dir / OUTPUTS, json.dumps(files, indent=1))

    def _train(self, stage: Stage, decision: Decision, logger: MMLogger) -> None:
        start = self._start_file(stage)
        weights = start or _initial_weights(stage.cfg)
        logger.info(f'stage {stage.name}: {decision.action} ({decision.why}), starts from {weights}')
        resumed = decision.action == 'resume'
        if is_main_process():
            if not resumed:
                _set_aside(stage.work_dir, logger)
            stage.work_dir.mkdir(parents=True, exist_ok=True)
            write_whole(stage.stamp_file, json.dumps(self._identity(stage) | {'status': 'running'}, indent=1))
        barrier()
        cfg = copy.deepcopy(stage.cfg)
        cfg.work_dir = str(stage.work_dir)
        cfg.randomness = dict(cfg.get('randomness', {}), seed=stage.seed)
        cfg.resume = resumed
        cfg.launcher = 'pytorch' if is_distributed() else 'none'  # whichever it was, the processes have met
        cfg.load_from = _outputs(stage.work_dir)['last'] if resumed else start
        prepare_data(cfg)
        began = time.time()
        scores = _train(cfg)
        stage.output = _outputs(stage.work_dir)
        if is_main_process():
            hashes = {kind: {'file': Path(file).name, 'sha256': file_hash(file)} for kind, file in stage.output.items()}
            measured = {'status': 'done', 'seconds': time.time() - began, 'scores': scores}
            finished = self._identity(stage) | measured | hashes
            write_whole(stage.stamp_file, json.dumps(finished, indent=1))

    # -------------------------------------------------------------------------------------------- hand-over

    def _source_of(self, stage: Stage) -> Stage | None:
        """The stage that hands its weights to this one."""
        name = (stage.load_from or '').rpartition('.')[0]
        return next((other for other in self.stages[: stage.index] if other.name == name), None)

    def _start_file(self, stage: Stage) -> str | None:
        before = self._source_of(stage)
        if before is None:
            return stage.load_from
        kind = stage.load_from.rpartition('.')[2]
        if kind not in before.output:
            raise RecipeError(
                f'stage {stage.name} starts from {stage.load_from}, but {before.name} kept no best checkpoint: '
                "it needs validation labels and default_hooks.checkpoint.save_best; or use '.last'"
            )
        return before.output[kind]

    def _identity(self, stage: Stage) -> dict:
        """What a stage is made from: equal identities give equal results."""
        start = self._start_file(stage)
        return {
            'config': _config_hash(stage.cfg),
            'inputs': file_hash(start) if start else None,
            'code': code_hash(),
            'seed': stage.seed,
            'world_size': get_world_size(),
        }

    def _find_equal(self, stage: Stage, identity: dict) -> Path | None:
        """The stamp of an equal finished stage in the same ``work_dirs`` tree."""
        root = next((folder for folder in self.work_dir.resolve().parents if folder.name == 'work_dirs'), None)
        found = root.rglob('stamp.json') if root else self.work_dir.resolve().parent.glob('*/*/stamp.json')
        for file in sorted(found):
            other = _read_stamp(file)
            equal = other.get('status') == 'done' and all(other.get(key) == value for key, value in identity.items())
            if equal and Path(_files(file, other)['last']).is_file():
                return file
        return None


# ------------------------------------------------------------------------------------------------ reading


def _read_stage(index: int, entry: dict, config: Path, work_dir: Path, seed: int, earlier: list[str]) -> Stage:
    kind, name = entry.pop('type', 'Train'), entry.pop('name', None)
    if kind != 'Train' or not name or name in earlier:
        raise RecipeError(f'{config}: recipe[{index}] needs type="Train" and a name of its own, got {kind!r}, {name!r}')
    file = config.parent / entry.pop('config', config.name)
    load_from = entry.pop('load_from', None)
    if entry:
        raise RecipeError(f'{config}: recipe[{index}] ({name}) has unknown keys {sorted(entry)}')
    if not file.is_file():
        raise RecipeError(f'{config}: stage {name} names {file}, which does not exist')
    before, _, kind = (load_from or '').rpartition('.')
    if load_from and before not in earlier and not Path(load_from).is_file():
        raise RecipeError(
            f'{config}: stage {name} starts from {load_from!r}: neither <earlier stage>.last|best nor a file'
        )
    if before in earlier and kind not in ('last', 'best'):
        raise RecipeError(f'{config}: stage {name} starts from {load_from!r}: write {before}.last or {before}.best')
    cfg = Config.fromfile(file)
    cfg.pop('recipe', None)
    if load_from is None and cfg.get('load_from') and not Path(cfg.load_from).is_file():
        raise RecipeError(f'{file}: load_from={cfg.load_from!r} is no file')
    return Stage(
        index, name, cfg, work_dir / f'{index:02d}_{name}', load_from or cfg.get('load_from'), stage_seed(seed, name)
    )


def stage_seed(seed: int, name: str) -> int:
    """The seed of a stage: a function of the run's seed and the stage's name alone."""
    return int.from_bytes(hashlib.sha256(f'{seed}/{name}'.encode()).digest()[:4], 'big')


def _apply_options(stages: list[Stage], options: dict) -> None:
    names = [stage.name for stage in stages]
    for option, value in options.items():
        name, colon, key = option.rpartition(':')
        if (top := key.partition('.')[0]) in _ELSEWHERE:
            raise RecipeError(f'--cfg-options {option}: {top} is not taken from here; use {_ELSEWHERE[top]}')
        if colon and name not in names:
            raise RecipeError(f'--cfg-options {option}: there is no stage {name!r}; stages: {", ".join(names)}')
        takers = [s for s in stages if s.name == name or (not colon and _has(s.cfg, key))]
        if not takers:
            raise RecipeError(
                f'--cfg-options {option}: no stage has this setting; STAGE:{key}=... adds a new one to a stage'
            )
        for stage in takers:
            stage.cfg.merge_from_dict({key: value})


def _has(cfg: Config, key: str) -> bool:
    node = cfg
    for part in filter(None, key.split('.')):
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                return False
            node = node[int(part)]
        elif isinstance(node, (dict, Config)) and part in node:
            node = node[part]
        else:
            return False
    return True


def _apply_init(stages: list[Stage], init: dict[str, str]) -> None:
    by_name = {stage.name: stage for stage in stages}
    for name, file in init.items():
        if name not in by_name:
            raise RecipeError(f'--init {name}={file}: there is no stage {name!r}; stages: {", ".join(by_name)}')
        if not Path(file).is_file():
            raise RecipeError(f'--init {name}={file}: no such file')
        by_name[name].init = Path(file)


# ------------------------------------------------------------------------------------------------ stamping


def _config_hash(cfg: Config) -> str:
    kept = _stamped(cfg.to_dict())
    kept.get('randomness', {}).pop('seed', None)  # stamped as the stage's own
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def _stamped(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _stamped(value) for key, value in node.items() if key not in _NOT_STAMPED}
    return [_stamped(item) for item in node] if isinstance(node, (list, tuple)) else node


def code_hash() -> str:
    """Hash of the package's Python files."""
    root, digest = Path(mmuda.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob('*.py')):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _outputs(folder: Path) -> dict[str, str]:
    files, latest = {'best': folder / 'best.pth'}, folder / 'last_checkpoint'
    if latest.is_file():
        files['last'] = folder / Path(latest.read_text()).name
    return {kind: str(file) for kind, file in files.items() if file.is_file()}


def _read_stamp(file: Path) -> dict:
    """A stamp; empty when there is none, or when the file is no stamp of ours."""
    try:
        stamp = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _initial_weights(cfg: Config) -> str:
    init = cfg.model.get('student', {}).get('init_cfg') or {}
    return init.get('checkpoint', 'random weights (model.student.init_cfg names a pretrained start)')


def _files(stamp_file: Path, stamp: dict) -> dict[str, str]:
    return {kind: str(stamp_file.parent / stamp[kind]['file']) for kind in ('last', 'best') if kind in stamp}


def find_checkpoint(path: str | Path, cfg: Config, which: str = 'last') -> Path:
    """The checkpoint itself, or that of the config's own stage, the last of its recipe, in the folder of a run.

    Args:
        path: A checkpoint, the folder of a run, or that of a stage.
        cfg: The config.
        which: ``'last'`` or ``'best'``: the checkpoint that is taken from a folder.

    Raises:
        RecipeError: If there is none.
    """
    path = Path(path)
    if path.is_file():
        return path
    stages = cfg.get('recipe') or [{'name': Path(cfg.filename).stem}]
    name, outputs = stages[-1]['name'], path / OUTPUTS
    if outputs.is_file() and (found := json.loads(outputs.read_text()).get(name, {}).get(which)):
        return path / found
    for folder in (path / f'{len(stages) - 1:02d}_{name}', path):
        if found := _outputs(folder).get(which):
            return Path(found)
    raise RecipeError(
        f'{path} is neither a checkpoint nor a run of {cfg.filename} whose stage {name} has a {which} one'
    )


# ------------------------------------------------------------------------------------------------- running


def prepare_data(cfg: Config) -> None:
    """Make the MiniCity that a config asks for, if it is not there."""
    if 'minicity' in cfg and is_main_process():
        minicity.ensure(cfg.minicity)
    barrier()


def _train(cfg: Config) -> dict[str, float]:
    """One runner from start to end, leaving no worker, file or tensor behind; returns the last validation's scores."""
    runner = Runner.from_cfg(cfg)
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
        del runner
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _set_aside(folder: Path, logger: MMLogger) -> None:
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    number = 1
    while (aside := folder.with_name(f'{folder.name}.old{number}')).exists():
        number += 1
    folder.rename(aside)
    logger.info(f'{folder} is set aside as {aside.name}')


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one run at a time writes into a folder."""
    if not is_main_process():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / '.lock', 'w')  # noqa: SIM115
    except OSError as error:
        raise RecipeError(f'{folder} cannot be written ({error.strerror}); choose another --work-dir') from error
    with lock:
        try:
            # A lock of the process (not flock's, of the file): loader workers that outlive a killed run do not keep it.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise RecipeError(f'another run is writing {folder}; wait for it or choose another --work-dir') from None
        yield
