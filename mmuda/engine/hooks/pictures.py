"""Sheets of pictures that show what a method does with its batches."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from torch import Tensor

from mmuda.registry import HOOKS
from mmuda.utils.depth import metres, nearness
from mmuda.utils.files import write_whole
from mmuda.utils.pictures import encode, sheet

if TYPE_CHECKING:
    from mmuda.models.uda import UDASegmentor

_SAMPLES = 4  # of a batch that are drawn, at most


@HOOKS.register_module()
class PictureHook(Hook):
    """Draws ``pictures/iter_<n>.png`` at the first iteration and every ``interval`` iterations.

    A sheet has a row for each sample of the batch. Its columns are the images, labels and depth of the batch, what the
    evaluated network predicts (for the target, where there is one), and what the method noted in this step by
    :meth:`mmuda.models.uda.UDASegmentor.note`. It also goes to the visualizer's backends, such as TensorBoard.

    Training is the same to the bit with it and without it: the prediction is one in eval mode, after the step.

    Args:
        interval: Iterations between two sheets; None takes the validation interval, 0 draws nothing.
    """

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Ask the model for notes when a sheet is due."""
        interval = runner.val_interval if self.interval is None else self.interval
        due = interval and (runner.iter == 0 or self.every_n_train_iters(runner, interval))
        if due and is_main_process():
            _segmentor(runner).notes = {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw what the model noted."""
        model = _segmentor(runner)
        if model.notes is None:
            return
        notes, model.notes = model.notes, None
        page = sheet(picture_rows(model, data_batch, notes), runner.train_dataloader.dataset.metainfo, height=192)
        step = runner.iter + 1
        write_whole(Path(runner.work_dir, 'pictures', f'iter_{step}.png'), encode(page))
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):  # which would write the same file once more
                backend.add_image('pictures', cv2.cvtColor(page, cv2.COLOR_BGR2RGB), step)


@torch.no_grad()
def picture_rows(model: 'UDASegmentor', data_batch: dict, notes: Mapping[str, Tensor]) -> list[dict[str, np.ndarray]]:
    """What a sheet shows of a step: title -> array, see :func:`mmuda.utils.pictures.draw`, for each sample.

    Args:
        model: In train mode, as it is left; its prediction is one in eval mode.
        data_batch: As the loader made it.
        notes: What the model noted.
    """
    batch = model.data_preprocessor(data_batch, training=True)
    columns = {}
    for domain, tensors in batch.items():
        columns[domain] = tensors['image']
        if 'label' in tensors:
            columns[f'{domain} label'] = tensors['label']
        if 'depth' in tensors:
            columns[f'{domain} depth'] = tensors['depth']
    shown = 'target' if 'target' in batch else 'source'
    model.eval()
    predicted = model.predict(batch[shown]['image'][:_SAMPLES])
    model.train()
    columns[f'{model.evaluate} on {shown}'] = torch.cat([sample.pred_sem_seg.data for sample in predicted])
    arrays = {name.replace('_', ' '): _arrays(model, picture) for name, picture in (columns | notes).items()}
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def _segmentor(runner: Runner) -> 'UDASegmentor':
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _arrays(model: 'UDASegmentor', picture: Tensor) -> np.ndarray:
    """The first samples of a noted tensor as :func:`mmuda.utils.pictures.draw` takes them."""
    picture = picture[:_SAMPLES]
    if picture.dim() == 4 and picture.shape[1] == 3:
        picture = model.data_preprocessor.picture(picture).permute(0, 2, 3, 1)
    elif picture.dim() == 4 and picture.shape[1] == 1:
        picture = nearness(metres(picture[:, 0].float()))
    elif picture.dim() == 4:
        picture = picture.argmax(1)
    elif picture.is_floating_point():
        picture = picture.float()
    return picture.cpu().numpy()
