"""From a config's ``recipe`` list and the command line to stages: the part of the recipe that knows users' mistakes."""

import copy
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine import Config

from mmuda.engine.stages import OFFLINE, Input, Offline, RecipeError, Stage, Train

# Options that would have no effect, and what has: on the command line, in a recipe.
_ELSEWHERE = {
    'randomness': ('--seed', 'seed='),
    'data_root': ('--data-root', 'data_root in the config'),
    'work_dir': ('--work-dir', '--work-dir'),
    'load_from': ('STAGE:load_from=FILE', 'load_from='),
    'resume': ('--resume', 'continues='),
    'recipe': ('the recipe in the config file',) * 2,
    'student': ('model.student',) * 2,
    'data_preprocessor': ('model.data_preprocessor',) * 2,
}


def read_stages(
    config: Path, work_dir: Path, options: dict, init: dict[str, str], seed: int | None, precision: str | None
) -> list[Stage]:
    """Read a config and everything its recipe names; the arguments are those of ``Recipe.load``.

    Raises:
        RecipeError: A stage, option or file that does not exist, or a combination that cannot work.
    """
    if not config.is_file():
        raise RecipeError(f'{config} is not a config file; see configs/')
    read = functools.cache(whole_config)  # most stages share a file
    main = read(config)
    entries = main.get('recipe') or [{'type': 'Train', 'name': config.stem}]
    seed = main.get('randomness', {}).get('seed', 0) if seed is None else seed
    stages: list[Stage] = []
    for index, entry in enumerate(entries):
        try:
            stages.append(_read_stage(index, dict(entry), config, read, work_dir, seed, stages))
        except RecipeError as error:
            raise RecipeError(f'{config}: recipe[{index}]: {error}') from None
    _apply_options(stages, options)
    for stage in stages:
        if precision is not None and isinstance(stage, Train):  # labels are made in fp32 (HIAST spec 6.1)
            stage.cfg.model.precision = precision
    _apply_init(stages, init)
    for stage in stages:
        stage.check()
    return stages


def whole_config(file: str | Path) -> Config:
    """A config file that can be run.

    Raises:
        RecipeError: The file is only a part of such configs.
    """
    cfg = Config.fromfile(file)
    if 'type' not in cfg.get('model', {}):
        raise RecipeError(f'{file} has no model.type: name a config of configs/<paper>/, not one of its parts')
    return cfg


def stage_seed(seed: int, name: str) -> int:
    """The seed of a stage: a function of the run's seed and the stage's name alone."""
    return int.from_bytes(hashlib.sha256(f'{seed}/{name}'.encode()).digest()[:4], 'big')


def _read_stage(
    index: int,
    entry: dict,
    config: Path,
    read: Callable[[Path], Config],
    work_dir: Path,
    seed: int,
    earlier: list[Stage],
) -> Stage:
    kind, name = entry.pop('type', 'Train'), entry.pop('name', None)
    by_name = {stage.name: stage for stage in earlier}
    if not re.fullmatch(r'[\w-]+', name or '') or name in by_name:
        raise RecipeError(f'a stage needs a name of its own, of letters, digits, - and _; got {name!r}')
    if kind not in ('Train', *OFFLINE):
        raise RecipeError(f'stage {name} has type={kind!r}; there are {", ".join(("Train", *OFFLINE))}')
    file = config.parent / entry.pop('config', config.name)
    if not file.is_file():
        raise RecipeError(f'stage {name} names {file}, which does not exist')
    cfg = copy.deepcopy(read(file))
    cfg.pop('recipe', None)
    options = entry.pop('options', {})
    for key in options:
        _check_place(f'options of stage {name}: {key}', key, in_recipe=True)
        if not _has(cfg, key):
            raise RecipeError(f'options of stage {name}: {key} is no setting of {file}')
    cfg.merge_from_dict(options)
    stage_type = Train if kind == 'Train' else Offline
    if stage_type is Train and cfg.get('load_from') and 'continues' not in entry:
        entry.setdefault('load_from', cfg.load_from)
    inputs = {
        role: _read_input(f'stage {name}: {role}', text, accepted, by_name)
        for role, accepted in stage_type.roles.items()
        if (text := entry.pop(role, None)) is not None
    }
    own = inputs['continues'].stage.seed if 'continues' in inputs else stage_seed(seed, name)
    return stage_type(
        index=index,
        kind=kind,
        name=name,
        cfg=cfg,
        work_dir=work_dir / f'{index:02d}_{name}',
        seed=entry.pop('seed', own),
        inputs=inputs,
        settings=Config(entry),
    )


def _read_input(where: str, text: str, accepted: Sequence[str], earlier: dict[str, Stage]) -> Input:
    name, _, artifact = text.partition('.')
    if (stage := earlier.get(name)) is not None:
        artifact = artifact or accepted[0]
        if artifact in accepted and artifact in stage.hands_over:
            return Input(stage, artifact)
        raise RecipeError(
            f'{where}={text!r} takes {" or ".join(accepted)}; stage {name} hands over {" and ".join(stage.hands_over)}'
        )
    if 'last' in accepted and Path(text).is_file():
        return Input(None, text)
    raise RecipeError(f'{where}={text!r} is neither an earlier stage nor a file')


def _apply_options(stages: list[Stage], options: dict) -> None:
    names = [stage.name for stage in stages]
    for option, value in options.items():
        name, colon, key = option.rpartition(':')
        if colon and name not in names:
            raise RecipeError(f'--cfg-options {option}: there is no stage {name!r}; stages: {", ".join(names)}')
        if colon and key == 'load_from' and isinstance(stage := stages[names.index(name)], Train):
            stage.inputs['load_from'] = _read_input(f'--cfg-options {option}', value, stage.roles['load_from'], {})
            continue
        _check_place(f'--cfg-options {option}', key, in_recipe=False)
        # What the recipe says about a stage beside its config can be set likewise: labels1:selector.threshold=0.9
        places = {s.name: s.settings if s.is_setting(key.partition('.')[0]) else s.cfg for s in stages}
        takers = [places[name]] if colon else [place for place in places.values() if _has(place, key)]
        if not takers:
            raise RecipeError(
                f'--cfg-options {option}: no stage has this setting; STAGE:{key}=... adds a new one to a stage'
            )
        for taker in takers:
            taker.merge_from_dict({key: value})


def _check_place(where: str, key: str, in_recipe: bool) -> None:
    if (top := key.partition('.')[0]) in _ELSEWHERE:
        raise RecipeError(f'{where}: {top} is not taken from here; use {_ELSEWHERE[top][in_recipe]}')


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
        by_name[name].init = Path(file)
        by_name[name].check_init()
