"""What a trained network needs to live without this package: a config of stock mmseg, and one module of the rest."""

import ast
import importlib
import inspect
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import resolve_name
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from mmuda.registry import MODELS, TRANSFORMS

# What mmseg has under another name; a setting of None is ours alone and left out.
_SAME = {
    'mmuda.DomainDataPreprocessor': dict(type='SegDataPreProcessor'),
    'mmuda.PillowResize': dict(type='Resize', keep_ratio=False, backend='pillow', interpolation='bicubic', labels=None),
    'LoadImageFromFile': dict(color_type='color_ignore_orientation'),  # in our scope it is mmuda.LoadImage
}


def stock_config(cfg: Config) -> tuple[dict, list[type]]:
    """The evaluated network of a config, and how images come to it, in the words of stock mmseg.

    mmseg predicts with it what :meth:`UDASegmentor.predict` does in fp32.

    Returns:
        The settings ``default_scope``, ``model``, ``test_pipeline``, and those that mmseg's inferencer asks for.
        The classes among them that mmseg lacks, for :func:`module_source`.

    Raises:
        ValueError: If the config has no ``model.student`` or no ``test_pipeline``.
    """
    if 'student' not in cfg.get('model', {}) or 'test_pipeline' not in cfg:
        raise ValueError(
            f'{cfg.filename} has no model.student or no test_pipeline: name the config that the network is trained with'
        )
    lacking: list[type] = []
    student = {**cfg.model.student.to_dict(), 'data_preprocessor': cfg.model.data_preprocessor.to_dict()}
    model = _translate(student, MODELS, lacking)
    pipeline = [_translate(step.to_dict(), TRANSFORMS, lacking) for step in cfg.test_pipeline]
    if cfg.model.get('resize_once'):
        # the size that mmseg's heads interpolate to is then the file's, and the second interpolation does nothing
        pipeline.insert(1, dict(type='Pad', size_divisor=1))
    settings = dict(
        default_scope='mmseg',
        model=model,
        test_pipeline=pipeline,
        test_dataloader=dict(dataset=dict(type='BaseSegDataset', pipeline=pipeline)),
        visualizer=dict(type='SegLocalVisualizer'),
    )
    return settings, list(dict.fromkeys(lacking))


def _translate(value: Any, registry: Registry, lacking: list[type]) -> Any:
    """A setting without our types; appends those that mmseg lacks."""
    if isinstance(value, (list, tuple)):
        return type(value)(_translate(one, registry, lacking) for one in value)
    if not isinstance(value, dict):
        return value
    kind = value.get('type')
    same = _SAME.get(kind, {})
    if not same and isinstance(kind, str) and kind.startswith('mmuda.'):
        lacking.append(registry.get(kind))
        same = dict(type=kind.removeprefix('mmuda.'))
    kept = {key: item for key, item in value.items() if key not in same and not _is_start(key, item)}
    new = {key: item for key, item in same.items() if item is not None}
    return {key: _translate(item, registry, lacking) for key, item in kept.items()} | new


def _is_start(key: str, value: Any) -> bool:
    """Whether a setting names a file of start weights, which the trained ones replace."""
    return key == 'init_cfg' and isinstance(value, dict) and value.get('type') == 'Pretrained'


def module_source(classes: Sequence[type]) -> str:
    """Python source that defines classes of this package, and all that they use of it, for mmseg's registries.

    Definitions are taken as they are written, each after those that it uses.

    Raises:
        ValueError: If two of them share a name, or one is used through its module.
    """
    imports: set[str] = set()
    homes: dict[str, str] = {}  # name -> module
    begun: set[str] = set()
    sources: list[str] = []

    def add(module: str, name: str) -> None:
        text, statements = _statements(module)
        if name not in statements:
            return  # a builtin, an argument, a local name
        node = statements[name]
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            origin = _origin(node, module)
            if origin == 'mmuda.registry':
                imports.add(f'from mmseg.registry import {name}')
            elif not origin.startswith('mmuda'):
                imports.add(ast.unparse(type(node)(**{**vars(node), 'names': [_alias(node, name)]})))
            elif inspect.ismodule(getattr(importlib.import_module(origin), name)):
                raise ValueError(f'{module} uses {origin}.{name} as a module: import what it needs from there by name')
            else:
                add(origin, name)
            return
        if homes.setdefault(name, module) != module:
            raise ValueError(f'{module} and {homes[name]} both define {name}: rename one')
        source = _source(text, node)
        if source in begun:
            return
        begun.add(source)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name):
                add(module, inner.id)
        sources.append(source)

    for one in classes:
        add(one.__module__, one.__name__)
    return '\n'.join(sorted(imports)) + ''.join(f'\n\n\n{source}' for source in sources) + '\n'


@cache
def _statements(module: str) -> tuple[str, dict[str, ast.stmt]]:
    """A module's text, and the statement that gives each of its names its value."""
    text = inspect.getsource(importlib.import_module(module))
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name: node for alias in node.names}
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id: node for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return text, found


def _origin(node: ast.Import | ast.ImportFrom, module: str) -> str:
    """The module that an import takes from, by its whole name."""
    if isinstance(node, ast.Import):
        return node.names[0].name
    package = importlib.import_module(module).__spec__.parent
    return resolve_name('.' * node.level + (node.module or ''), package) if node.level else node.module


def _alias(node: ast.Import | ast.ImportFrom, name: str) -> ast.alias:
    return next(alias for alias in node.names if name == (alias.asname or alias.name))


def _source(text: str, node: ast.stmt) -> str:
    """The lines of a statement with its decorators.

    A registration replaces an earlier one: modules of several networks may be imported together.
    """
    first = min((decorator.lineno for decorator in getattr(node, 'decorator_list', ())), default=node.lineno)
    source = '\n'.join(text.splitlines()[first - 1 : node.end_lineno])
    return re.sub(r'^(@\w+\.register_module\()(\)?)', lambda m: f'{m[1]}force=True{m[2] or ", "}', source)
