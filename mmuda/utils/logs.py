"""What runs have logged: values by iteration, and scores."""

import json
import re
from pathlib import Path

from mmengine import fileio

from mmuda.engine.recipe import OUTPUTS
from mmuda.engine.stamps import read_stamp


def named_run(text: str) -> tuple[str, Path]:
    """Read ``NAME=RUN``, or ``RUN``, whose name is its folder's."""
    name, _, path = text.rpartition('=')
    return name or Path(path).name, Path(path)


def trained_stage(run: Path) -> Path:
    """The folder of a run's stage that trained, or trains, last of all, wherever it lies; that of a stage is its own.

    Raises:
        FileNotFoundError: Nothing was trained there.
    """
    if _logs(run):
        return run
    stages = {
        int(folder.name[:2]): folder
        for folder in run.glob('[0-9][0-9]_*')
        if re.fullmatch(r'[\w-]+', folder.name) and read_stamp(folder / 'stamp.json').get('kind') == 'Train'
    }
    if (run / OUTPUTS).is_file():
        handed_over = json.loads(fileio.get_text(run / OUTPUTS)).values()
        stages |= {
            index: (run / artifacts['last']).parent
            for index, artifacts in enumerate(handed_over)
            if 'last' in artifacts
        }
    if stages and _logs(stage := stages[max(stages)]):
        return stage
    raise FileNotFoundError(f'{run} holds no log of a training: name the folder of a run or of one of its stages')


def scalars(stage: Path) -> dict[tuple[int, bool], dict[str, float]]:
    """All values that a stage has logged; of a step that a resumed run repeats, the later ones.

    Returns:
        (step, whether it is a validation) -> name -> value.

    Raises:
        ValueError: A file is no log of ours; names it.
    """
    values = {}
    for file in _logs(stage):
        for number, line in enumerate(fileio.get_text(file).splitlines(), start=1):
            try:
                found = json.loads(line)
                values[found['step'], 'iter' not in found] = found
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f'{file}, line {number}: no values of a step; mend or delete the line') from error
    return values


def curves(run: Path, metric: str) -> dict[str, dict[int, float]]:
    """The validation's metric and all losses of the stage that a run trained last: title -> step -> value.

    Raises:
        FileNotFoundError: Nothing was trained there.
        ValueError: Its validations have no such metric.
    """
    lines = scalars(trained_stage(run))
    validations = {step: values for (step, validated), values in lines.items() if validated}
    for values in validations.values():
        if metric not in values:
            known = ', '.join(name for name in values if '.' not in name and 'time' not in name and name != 'step')
            raise ValueError(f'{run} was not validated by {metric}: choose one of {known}')
    found = {f'validation: {metric}': {step: values[metric] for step, values in validations.items()}}
    for (step, validated), values in lines.items():
        for name, value in values.items():
            if not validated and name.rpartition('.')[2].startswith('loss'):
                found.setdefault(name, {})[step] = value
    return found


def class_scores(run: Path) -> dict[str, float]:
    """``mIoU``, then the IoU of each class, in percent: of a run's last validation, or of a file of tools/test.py.

    Raises:
        FileNotFoundError: There is no such file, or nothing was trained there.
        ValueError: It tells no IoU of classes.
    """
    if run.is_file():
        values = read_stamp(run)
    else:
        validations = [values for (_, validated), values in sorted(scalars(trained_stage(run)).items()) if validated]
        values = validations[-1] if validations else {}
    found = {name[4:].replace('_', ' '): value for name, value in values.items() if name.startswith('IoU.')}
    if not found:
        raise ValueError(f'{run} tells no IoU of classes: give a run that was validated, or the JSON file of a test')
    return {'mIoU': values['mIoU'], **found}


def _logs(stage: Path) -> list[Path]:
    """A file for each start of a stage."""
    return sorted(stage.glob('*/vis_data/scalars.json'))
