"""What several test files use: paths, the small city, and runs of the real commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.config import Config

from mmuda.registry import MODELS

ROOT = Path(__file__).parents[1]

# The smallest networks of the configs' two kinds, on images of 64 x 128.
TINY = {
    'model.student.backbone.depth': 10,
    'model.student.backbone.base_channels': 4,
    'model.student.backbone.stem_channels': 4,
    'model.student.decode_head.in_channels': 32,
    'model.student.auxiliary_head.in_channels': 16,
}
TINY_MIT = {
    'model.student.backbone.embed_dims': 4,
    'model.student.backbone.num_layers': [1, 1, 1, 1],
    'model.student.decode_head.in_channels': [4, 8, 20, 32],
    'model.student.decode_head.channels': 8,
}
SMALL_CITY = dict(seed=0, shift='medium', size=[64, 128], source=8, target_train=8, target_val=3)


def tiny(cfg: Config) -> dict:
    """The options that make a config's network tiny."""
    return TINY_MIT if cfg.model.student.backbone.type == 'MixVisionTransformer' else TINY


def stamp(stage: Path) -> dict:
    """What a stage says of itself."""
    return json.loads((stage / 'stamp.json').read_text())


def run_tool(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run a command of tools/ as a user does, in a process of its own."""
    command = [sys.executable, str(ROOT / 'tools' / name), *map(str, arguments)]
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)


def save_network(cfg: Config, folder: Path) -> tuple[Path, Path]:
    """The config and a fresh network of it as files, for tools that take a trained one."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save({'state_dict': model.state_dict()}, folder / 'network.pth')
    cfg.dump(folder / 'config.py')
    return folder / 'config.py', folder / 'network.pth'
