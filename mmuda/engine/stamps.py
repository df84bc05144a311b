"""What a stage was made from: hashes of configs, code and files, and the stamp in its folder that keeps them."""

import functools
import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import mmuda

MANIFEST = 'manifest.json'
"""What an offline step wrote and from what, in the folder that it hands over; written last."""

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
    'cache',
    'model_wrapper_cfg',
)


def config_hash(cfg: dict, without: Collection[str] = ()) -> str:
    """Hash of a config, less what does not change results, the seed (stamped by itself) and the keys in ``without``."""
    kept = stamped({key: value for key, value in cfg.items() if key not in without})
    kept.get('randomness', {}).pop('seed', None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def stamped(node: Any) -> Any:
    """Settings, in JSON's containers, less those that do not change results."""
    if isinstance(node, dict):
        return {key: stamped(value) for key, value in node.items() if key not in _NOT_STAMPED}
    return [stamped(item) for item in node] if isinstance(node, (list, tuple)) else node


@functools.cache
def code_hash() -> str:
    """Hash of the package's Python files as this process found them: a later edit is not what it runs."""
    root, digest = Path(mmuda.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob('*.py')):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder's manifest."""
    path = Path(path)
    with open(path / MANIFEST if path.is_dir() else path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def read_stamp(file: Path) -> dict:
    """A stamp; empty when there is none, or when the file is no stamp of ours."""
    try:
        stamp = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}
