"""Pictures for people: coloured label maps, captions, sheets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.fileio import put
from mmengine.registry import init_default_scope

from mmuda.registry import DATASETS, MODELS
from mmuda.utils.checkpoint import load_safe


def colour_labels(label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colour a map of train ids (H, W): BGR uint8 (H, W, 3), black where an id has no colour (255 = ignore)."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8)[:, ::-1]
    return table[label]


def sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], gap: int = 4) -> np.ndarray:
    """Lay out rows of equally sized BGR pictures under one line of titles."""
    height, width = rows[0][0].shape[:2]
    head, columns = 18, len(titles)
    canvas = np.full((head + len(rows) * (height + gap), columns * (width + gap) - gap, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (column * (width + gap) + 2, head - 5)
        cv2.putText(canvas, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for number, row in enumerate(rows):
        top = head + number * (height + gap)
        for column, picture in enumerate(row):
            canvas[top : top + height, column * (width + gap) : column * (width + gap) + width] = picture
    return canvas


def prediction_sheet(runs: Mapping[str, tuple[Path, Path]], file: Path, count: int = 5) -> Path:
    """Draw image, truth and the prediction of several checkpoints for the first validation images.

    Args:
        runs: Title -> (config file, checkpoint).
        file: Picture to write.
        count: Number of images, spread evenly over the validation set.

    Returns:
        ``file``.
    """
    columns: dict[str, list[np.ndarray]] = {}
    for title, (config, checkpoint) in runs.items():
        cfg = Config.fromfile(config)
        init_default_scope(cfg.default_scope)
        model = MODELS.build(cfg.model).eval()
        model.load_state_dict(load_safe(checkpoint)['state_dict'])
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        palette = dataset.metainfo['palette']
        for index in np.linspace(0, len(dataset) - 1, count).astype(int):
            item = dataset[int(index)]
            with torch.no_grad():
                sample = model.test_step(pseudo_collate([item]))[0]
            columns.setdefault('image', []).append(item['inputs'].permute(1, 2, 0).numpy())
            truth = item['data_samples'].gt_sem_seg.data[0].numpy()
            columns.setdefault('truth', []).append(colour_labels(truth, palette))
            prediction = sample.pred_sem_seg.data[0].cpu().numpy()
            columns.setdefault(title, []).append(colour_labels(prediction, palette))
    rows = list(zip(*(pictures[:count] for pictures in columns.values()), strict=True))
    put(cv2.imencode('.png', sheet(rows, list(columns)))[1].tobytes(), file)
    return file
