import re
import sys
import warnings
from pathlib import Path

import pytest

from mmuda.utils.versions import _HARMLESS, _STACK, check_stack

ROOT = Path(__file__).parents[2]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution's metadata before everything that is really installed."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, version):
        folder = tmp_path / f'{name.replace("-", "_")}-{version}.dist-info'
        folder.mkdir()
        (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')

    return write


def refusal():
    with pytest.raises(ImportError) as error:
        check_stack()
    return str(error.value)


def test_both_distributions(install):
    install('onedl-mmcv', '2.3.6')
    install('mmcv', '2.1.0')
    assert refusal() == (
        'onedl-mmcv and mmcv are both installed and overwrite each other as mmcv: '
        'run `pip uninstall -y onedl-mmcv mmcv && pip install "onedl-mmcv>=2.3.6,<2.4"`'
    )


@pytest.mark.parametrize('version', ['0.10.6', '1.0.0'])
def test_unsupported_version(install, version):
    install('onedl-mmengine', version)
    assert refusal() == (
        f'mmuda needs mmengine>=0.10.7,<1, but onedl-mmengine {version} is installed: '
        'run `pip uninstall -y onedl-mmengine && pip install "onedl-mmengine>=0.10.12,<0.11"`'
    )


def test_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    assert refusal() == (
        'mmuda needs mmengine, which is not installed: run `pip install "onedl-mmengine>=0.10.12,<0.11"`'
    )


@pytest.mark.parametrize('left', ['', 'mmengine/hooks'])
def test_files_gone(install, tmp_path, monkeypatch, left):
    install('mmengine', '0.10.7')
    (tmp_path / left).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    monkeypatch.delitem(sys.modules, 'mmengine', raising=False)
    assert refusal().startswith('mmengine 0.10.7 is installed, but the files of mmengine are gone: run `pip uninstall')


def test_original_distributions_pass(install, tmp_path, monkeypatch):
    for package, (name, version) in zip(
        _STACK, [('mmengine', '0.10.7'), ('mmcv', '2.1.0'), ('mmsegmentation', '1.2.2')], strict=True
    ):
        install(name, version)
        (tmp_path / f'{package}.py').touch()
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    check_stack()


def test_silences_only_the_known_warnings():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        check_stack()
        for message in _HARMLESS:
            warnings.warn(message.replace('\\', ''), stacklevel=1)
        warnings.warn('Fail to import something else', stacklevel=1)
    assert [str(warning.message) for warning in caught] == ['Fail to import something else']


def test_cures_are_the_requirements():
    lines = (ROOT / 'requirements' / 'mminstall.txt').read_text().splitlines()
    assert [package.cure for package in _STACK.values()] == [line for line in lines if not re.match('#|$', line)]
