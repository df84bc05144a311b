"""A paper's stages, one after the other, from one config.

.. code:: text

 Recipe.load()  reads the config, its `recipe` list and every stage's own config; applies options
 Recipe.plan()  compares each stage's stamp with what it would be now: done | resume | to do, and why
 Recipe.run()   locks the work_dir, then does what is to do; each stage writes its stamp last

A stage lives in ``<work_dir>/<nn>_<name>/`` and is the same run whether it is done in the chain or alone: its seed is a
function of the recipe's seed and its name. A stage that cannot be used again is set aside (``<nn>_<name>.old1``), never
overwritten. What the kinds of stages do is in ``stages.py``; docs/recipes.md is the page for users.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mmengine import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.logging import MMLogger

from mmuda import minicity
from mmuda.engine.recipe_file import read_stages
from mmuda.engine.stages import RecipeError, Stage, Train, checkpoints, new_logger
from mmuda.engine.stamps import MANIFEST, file_hash, read_stamp
from mmuda.utils.files import write_whole
from mmuda.utils.memory import free_memory, peak_memory

OUTPUTS = 'outputs.json'


@dataclass
class Decision:
    """What to do with a stage, and why.

    Args:
        action: ``todo``, ``resume``, ``done``, ``reuse`` (an equal one), ``init`` or ``skip``.
        why: For people.
        found: What the stage hands over, where nothing is to be done.
    """

    action: str
    why: str
    found: dict[str, str] = field(default_factory=dict)


class Recipe:
    """The stages of one config; see the module.

    Args:
        stages: In order.
        work_dir: Folder of all stages.
        resume: Go on with an unfinished stage instead of setting it aside.
        from_stage: Name of the stage to begin with: those before it have to be done.
        until_stage: Name of the stage to end with.
    """

    def __init__(
        self,
        stages: list[Stage],
        work_dir: Path,
        resume: bool = False,
        from_stage: str | None = None,
        until_stage: str | None = None,
    ) -> None:
        self.stages = stages
        self.work_dir = work_dir
        self.resume = resume
        names = {stage.name: stage.index for stage in stages}
        for option, name in (('--from-stage', from_stage), ('--until-stage', until_stage)):
            if name not in (None, *names):
                raise RecipeError(f'{option} {name}: there is no such stage; stages: {", ".join(names)}')
        self.first = names.get(from_stage, 0)
        self.final = names.get(until_stage, len(stages) - 1)
        if self.first > self.final:
            raise RecipeError(f'--from-stage {from_stage} comes after --until-stage {until_stage}')

    # ------------------------------------------------------------------------------------------------- load

    @classmethod
    def load(
        cls,
        config: str | Path,
        work_dir: str | Path,
        *,
        options: dict | None = None,
        init: dict[str, str] | None = None,
        seed: int | None = None,
        precision: str | None = None,
        resume: bool = False,
        from_stage: str | None = None,
        until_stage: str | None = None,
    ) -> 'Recipe':
        """Read a config and everything its recipe names.

        Args:
            config: Config file; without a ``recipe`` it is its own only stage.
            work_dir: Folder of the run.
            options: Config options; ``'key'`` goes to every stage that has it, ``'STAGE:key'`` to one.
            init: Stage name -> checkpoint, or an offline stage's folder, that replaces this stage.
            seed: Seed of the run; ``randomness.seed`` of the config by default.
            precision: ``model.precision`` of every training; offline stages keep their configs'.
            resume: See the class, as for the next two.
            from_stage: First stage.
            until_stage: Last stage.

        Raises:
            RecipeError: A stage, option or file that does not exist.
        """
        stages = read_stages(Path(config), Path(work_dir), options or {}, init or {}, seed, precision)
        return cls(stages, Path(work_dir), resume, from_stage, until_stage)

    # ------------------------------------------------------------------------------------------------- plan

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
            + (f'  <- {", ".join(map(str, stage.inputs.values()))}' if stage.inputs else '')
            for stage, decision in self.plan()
        ]
        return '\n'.join([f'{len(rows)} stage(s) in {self.work_dir}', *rows])

    def decide(self, stage: Stage) -> Decision:
        """What is to be done with a stage, given what the stages before it handed over."""
        if stage.init is not None:
            return Decision('init', f'given: {stage.init}', dict.fromkeys(stage.hands_over, str(stage.init)))
        if stage.index > self.final:
            return Decision('skip', f'after --until-stage {self.stages[self.final].name}')
        if not self._is_needed(stage):
            return Decision('skip', 'what it would be needed for is given')
        decision = self._compare(stage)
        if stage.index < self.first and not decision.found:
            raise RecipeError(
                f'--from-stage {self.stages[self.first].name} needs stage {stage.name}, which is not done '
                f'({decision.why}): run it first, or give it by --init {stage.name}=...'
            )
        return decision

    def _is_needed(self, stage: Stage) -> bool:
        """Whether a stage, or what is made from it, is asked for."""
        asked = self.stages[: self.final + 1]
        users = [other for other in asked if any(given.stage is stage for given in other.inputs.values())]
        return not users or any(user.init is None and self._is_needed(user) for user in users)

    def _compare(self, stage: Stage) -> Decision:
        """What the stamps say."""
        for given in stage.inputs.values():
            if given.stage is not None and not given.stage.output:
                return Decision('todo', f'after {given.stage.name}')
        wanted, found = stage.identity(), stage.stamp()
        differing = [key for key in wanted if found and found.get(key) != wanted[key]]
        keep = self.resume or stage.index < self.first
        if found.get('status') == 'done' and (not differing or (keep and differing == ['code'])):
            files = _outputs(stage, stage.stamp_file, found)
            if not files:
                return Decision('todo', 'what it handed over is gone')
            since = ', by other code of mmuda' if differing else ''
            return Decision('done', f'finished in {found["seconds"]:.0f} s{since}', files)
        elsewhere = self._find_equal(stage, wanted)
        if elsewhere is not None:
            return Decision('reuse', f'equal to {elsewhere.parent}', _outputs(stage, elsewhere, read_stamp(elsewhere)))
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
        progress = stage.progress()
        if progress is None:
            return Decision('todo', 'unfinished, no checkpoint yet')
        return Decision('resume', f'from {progress}')

    def _find_equal(self, stage: Stage, identity: dict) -> Path | None:
        """The stamp of an equal finished stage in the same ``work_dirs`` tree."""
        root = next((folder for folder in self.work_dir.resolve().parents if folder.name == 'work_dirs'), None)
        found = root.rglob('stamp.json') if root else self.work_dir.resolve().parent.glob('*/*/stamp.json')
        for file in sorted(found):
            other = read_stamp(file)
            equal = other.get('status') == 'done' and all(other.get(key) == value for key, value in identity.items())
            if equal and _outputs(stage, file, other):
                return file
        return None

    # -------------------------------------------------------------------------------------------------- run

    def run(self) -> Path:
        """Do what is to be done; returns what the last stage hands over (a Train stage: its last checkpoint)."""
        with _locked(self.work_dir):
            logger = new_logger(self.work_dir / 'recipe.log')
            if is_main_process():
                logger.info(self.table())
            ran = 0
            for stage in self.stages:
                decision = from_main(self.decide, stage)
                stage.output = decision.found
                if decision.action in ('todo', 'resume'):
                    self._run(stage, decision, logger)
                    ran += 1
                elif decision.action == 'reuse':  # perhaps found only now
                    logger.info(f'stage {stage.name}: {decision.why}')
                self._write_outputs()
            final = self.stages[self.final]
            result = Path(final.output[final.hands_over[0]])
            logger.info(f'finished: {result}' if ran else f'nothing to do, everything is there: {result}')
            return result

    def _run(self, stage: Stage, decision: Decision, logger: MMLogger) -> None:
        logger.info(f'stage {stage.name}: {decision.action} ({decision.why}); {stage.given()}')
        resumed = decision.action == 'resume'
        identity = stage.identity() if is_main_process() else {}
        if is_main_process():
            if not resumed:
                _set_aside(stage.work_dir, logger)
            stage.work_dir.mkdir(parents=True, exist_ok=True)
            write_whole(stage.stamp_file, json.dumps(identity | {'status': 'running'}, indent=1))
        prepare_data(stage.cfg)
        began = time.time()
        measured = stage.run(resumed)
        free_memory()
        barrier()  # the last file is there
        stage.output = from_main(stage.artifacts)
        if stage.hands_over[0] not in stage.output:
            raise RecipeError(
                f'stage {stage.name} left no {stage.hands_over[0]} in {stage.work_dir}: a training has to start before '
                'its train_cfg.max_iters'
            )
        if is_main_process():
            outputs = {
                artifact: {'file': os.path.relpath(path, stage.work_dir), 'sha256': file_hash(path)}
                for artifact, path in stage.output.items()
            }
            finished = {'status': 'done', 'seconds': time.time() - began, 'memory': peak_memory(), 'outputs': outputs}
            write_whole(stage.stamp_file, json.dumps(identity | finished | measured, indent=1))

    def _write_outputs(self) -> None:
        """Say where what each stage hands over lies, for a stage may have been given or found elsewhere."""
        if is_main_process():
            paths = {
                stage.name: {artifact: os.path.relpath(path, self.work_dir) for artifact, path in stage.output.items()}
                for stage in self.stages
            }
            write_whole(self.work_dir / OUTPUTS, json.dumps(paths, indent=1))

    def scores(self) -> dict[str, float]:
        """Scores of the last stage that was trained, after :meth:`run`; empty when that was given."""
        stamps = [
            read_stamp(Path(stage.output['last']).with_name('stamp.json'))
            for stage in self.stages
            if isinstance(stage, Train) and stage.output
        ]
        return stamps[-1].get('scores', {}) if stamps else {}


def seed_table(recipes: Sequence[Recipe]) -> str:
    """Scores of runs that differ in their seed (single classes aside): mean, standard deviation, each run's."""
    found = [recipe.scores() for recipe in recipes]
    lines = [f'{"":<10}{"mean":>8}{"+-":>7}  ' + ''.join(f'{recipe.work_dir.name:>8}' for recipe in recipes)]
    for name in (name for name in found[0] if '.' not in name and not name.endswith('time')):
        values = [scores[name] for scores in found]
        spread = f'{stdev(values):.2f}' if len(values) > 1 else '-'
        lines.append(f'{name:<10}{mean(values):8.2f}{spread:>7}  ' + ''.join(f'{value:8.2f}' for value in values))
    return '\n'.join(lines)


def find_checkpoint(path: str | Path, cfg: Config, which: str = 'last') -> Path:
    """The checkpoint itself, or that of the config's own stage, the last that its recipe trains, in a run's folder.

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
    index = [index for index, stage in enumerate(stages) if stage.get('type', 'Train') == 'Train'][-1]
    name, outputs = stages[index]['name'], path / OUTPUTS
    if outputs.is_file() and (found := json.loads(outputs.read_text()).get(name, {}).get(which)):
        return path / found
    for folder in (path / f'{index:02d}_{name}', path):
        if found := checkpoints(folder).get(which):
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


def from_main(function: Callable, *args: Any) -> Any:
    """What the main process finds, for every process: on a shared disk the others may still see something older."""
    found = [function(*args) if is_main_process() else None]
    broadcast_object_list(found)
    return found[0]


def _outputs(stage: Stage, stamp_file: Path, stamp: dict) -> dict[str, str]:
    """Artifact -> path by the stamp of such a stage; empty when what it hands over first of all is gone."""
    paths = {artifact: stamp_file.parent / output['file'] for artifact, output in stamp['outputs'].items()}
    there = {
        artifact: str(path)
        for artifact, path in paths.items()
        if (path / MANIFEST if artifact == 'folder' else path).is_file()
    }
    return there if stage.hands_over[0] in there else {}


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
