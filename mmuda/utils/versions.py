"""The guard behind ``import mmuda``: is the OpenMMLab stack complete, unmixed and of a version that we support?"""

import importlib.util
import re
import warnings
from importlib import metadata
from typing import NamedTuple


class _Package(NamedTuple):
    distributions: tuple[str, ...]  # everything that installs this import name, the maintained one first
    supported: str
    at_least: tuple[int, ...]
    below: tuple[int, ...]
    cure: str  # its line in requirements/mminstall.txt


_STACK = {
    'mmengine': _Package(
        ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
        '>=0.10.7,<1',
        (0, 10, 7),
        (1,),
        'onedl-mmengine>=0.10.12,<0.11',
    ),
    'mmcv': _Package(
        ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'), '>=2.1,<3', (2, 1), (3,), 'onedl-mmcv>=2.3.6,<2.4'
    ),
    'mmseg': _Package(
        ('onedl-mmsegmentation', 'mmsegmentation'), '>=1.2.2,<2', (1, 2, 2), (2,), 'onedl-mmsegmentation>=1.4.2,<1.5'
    ),
}

# mmcv warns of its missing compiled operators on import; nothing here uses one. mmseg warns of every resize with
# aligned corners, which is what the DeepLab-v2 family does.
_HARMLESS = (
    r'Fail to import ``MultiScaleDeformableAttention`` from ``mmcv\.ops\.multi_scale_deform_attn``',
    r'When align_corners=True, the output would more aligned if input size',
)


def check_stack() -> None:
    """Checks mmengine, mmcv and mmseg, and silences their two warnings that mean nothing here.

    The versions come from the distributions' metadata, because importing mmcv takes seconds. Two distributions of one
    package overwrite each other's files without a word from pip, hence the search for all of them.

    Raises:
        ImportError: If a package is missing, incomplete, present twice or of an unsupported version. The message ends
            with the command that mends it.
    """
    for name, package in _STACK.items():
        installed = _installed(package.distributions)
        problem = _problem(name, package, installed)
        if problem:
            uninstall = f'pip uninstall -y {" ".join(installed)} && ' if installed else ''
            raise ImportError(f'{problem}: run `{uninstall}pip install "{package.cure}"`')
    for message in _HARMLESS:
        warnings.filterwarnings('ignore', message=message, category=UserWarning)


def _installed(distributions: tuple[str, ...]) -> dict[str, str]:
    versions = {}
    for distribution in distributions:
        try:
            versions[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _problem(name: str, package: _Package, installed: dict[str, str]) -> str | None:
    if not installed:
        return f'mmuda needs {name}, which is not installed'
    if len(installed) > 1:
        return f'{" and ".join(installed)} are both installed and overwrite each other as {name}'
    [(distribution, version)] = installed.items()
    release = tuple(int(number) for number in re.findall(r'\d+', version)[:3])
    if not package.at_least <= release < package.below:
        return f'mmuda needs {name}{package.supported}, but {distribution} {version} is installed'
    # What is left after one of two distributions was uninstalled: the metadata without the files.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:  # nothing, or a folder without an __init__.py
        return f'{distribution} {version} is installed, but the files of {name} are gone'
    return None
