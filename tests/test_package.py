import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import mmuda

ROOT = Path(__file__).parents[1]


def python(*args, **kwargs):
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_import_is_silent_and_light():
    heavy = "[name for name in ('torch', 'mmengine', 'mmcv', 'mmseg') if name in sys.modules]"
    assert python('-c', f'import sys, mmuda; assert not {heavy}, {heavy}') == ''


def test_wheel_works_outside_the_checkout_and_its_imports_are_silent(tmp_path):
    # From a copy: setuptools leaves a build folder in the tree, and stale files of it end up in the next wheel.
    tree = tmp_path / 'tree'
    for name in ('mmuda', 'requirements'):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'setup.cfg', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, tree)
    python('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', str(tmp_path), str(tree))

    (wheel,) = tmp_path.glob('*.whl')
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    site = tmp_path / 'site'
    assert {path.name for path in site.iterdir()} == {'mmuda', f'mmuda-{mmuda.__version__}.dist-info'}
    splits = {path.name for path in (ROOT / 'mmuda/datasets/splits').glob('*.txt')}
    assert splits
    assert {path.name for path in (site / 'mmuda/datasets/splits').iterdir()} == splits
    assert len(list((site / 'mmuda/models/density_tables').glob('*.json'))) == 3

    where = 'import mmuda.models, mmuda.datasets, mmuda.engine, mmuda.evaluation, mmuda.minicity; print(mmuda.__file__)'
    out = python('-c', where, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(site)})
    assert out == f'{site / "mmuda/__init__.py"}\n'  # and nothing else

    requires = re.findall(r'^Requires-Dist: ([\w-]+)', next(site.glob('*.dist-info/METADATA')).read_text(), re.M)
    assert {'torch', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'} <= set(requires)
    assert not {'mmengine', 'mmcv', 'mmsegmentation'} & set(requires)  # pip would overwrite the maintained ones


def test_pins_satisfy_the_ranges():
    from packaging.requirements import Requirement

    def read(name):
        lines = (ROOT / 'requirements' / name).read_text().splitlines()
        return [Requirement(line) for line in lines if line and not line.startswith('#')]

    pins = {pin.name: str(pin.specifier).removeprefix('==') for pin in read('tested.txt')}
    for name in ('runtime.txt', 'mminstall.txt', 'tests.txt'):
        for requirement in read(name):
            assert requirement.specifier.contains(pins[requirement.name]), requirement
