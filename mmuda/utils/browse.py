"""What a network will see: the loader's items, and what a method makes of them."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from mmuda.engine.hooks.pictures import picture_rows
from mmuda.models.uda.base import UDASegmentor
from mmuda.utils.depth import nearness

_PICTURES = ('image', 'label', 'depth', 'weak', 'strong', 'weak_label')


def browse(cfg: Config, count: int, model: UDASegmentor | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Load training batches as a run does, the first ones of the config's seed, and yield a row for each sample.

    Args:
        cfg: The config.
        count: Number of rows.
        model: Also shows what a training step of this network makes of each batch: mixes, pseudo-labels, predictions,
            whatever the method notes (:meth:`UDASegmentor.note`). It learns nothing, but batch norm does.

    Yields:
        Title -> array, see :func:`mmuda.utils.pictures.draw`.
    """
    init_default_scope(cfg.default_scope)
    loader = cfg.train_dataloader.copy()
    loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    batches = iter(Runner.build_dataloader(loader, seed=cfg.randomness.seed))
    while count > 0:
        batch = next(batches)
        rows = loaded_rows(batch)
        if model is not None:
            rows = [row | made for row, made in zip(rows, step_rows(model, batch), strict=False)]
        yield from rows[:count]
        count -= len(rows)


def loaded_rows(batch: Mapping[str, Mapping[str, Tensor]]) -> list[dict[str, np.ndarray]]:
    """The images, labels, depth and crops of a batch as the loader made it: title -> array for each sample."""
    columns = {}
    for domain, tensors in batch.items():
        for key in (key for key in _PICTURES if key in tensors):
            title = domain if key == 'image' else f'{domain} {key.replace("_", " ")}'
            columns[title] = _arrays(tensors[key])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@torch.no_grad()
def step_rows(model: UDASegmentor, batch: dict) -> list[dict[str, np.ndarray]]:
    """What a training step notes of a batch, without its backward passes: title -> array for the first samples."""
    model.train().notes = {}
    for _ in model.parts(model.data_preprocessor(batch, training=True)):
        pass
    notes, model.notes = model.notes, None
    return picture_rows(model, batch, notes)


def _arrays(picture: Tensor) -> np.ndarray:
    if picture.dtype is torch.uint16:
        return nearness(picture.float() / 100).numpy()
    return (picture.permute(0, 2, 3, 1) if picture.dim() == 4 else picture).numpy()
