"""Trained networks on image files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmuda.datasets.classes import metainfo
from mmuda.datasets.transforms.loading import LoadLabels, decode_image
from mmuda.models.losses import softmax_confidence
from mmuda.models.uda import UDASegmentor
from mmuda.registry import DATASETS, MODELS
from mmuda.utils.checkpoint import load_safe
from mmuda.utils.depth import metres
from mmuda.utils.pictures import mistakes, sheet


class Prediction(NamedTuple):
    """What a network says of an image, at the size of its file.

    Attributes:
        label: Train ids (H, W) uint8.
        confidence: Probability of that class (H, W) float32.
        depth: In metres (H, W) float32, if it was asked for.
        density: Of the predicted class in its place, 0 to 1, (H, W) float32, if it was asked for.
    """

    label: np.ndarray
    confidence: np.ndarray
    depth: np.ndarray | None
    density: np.ndarray | None


class Predictor:
    """The network that a config evaluates, with the weights of a checkpoint.

    Args:
        cfg: Config with a ``test_pipeline``, which brings images to the size of the paper.
        checkpoint: File of weights.
        device: Where it runs.
        depth: Whether depth is predicted, too; needs a network that does.
        density: The same for density.

    Attributes:
        meta: ``classes`` (names) and ``palette`` (RGB).

    Raises:
        ValueError: If the checkpoint does not fit the config, or the config has no ``test_pipeline``.
    """

    def __init__(
        self, cfg: Config, checkpoint: str | Path, device: str = 'cpu', depth: bool = False, density: bool = False
    ) -> None:
        if 'test_pipeline' not in cfg:
            raise ValueError(f'{cfg.filename} has no test_pipeline, by which images are loaded: add one')
        self.model = load_model(cfg, checkpoint).to(device)
        self.model.keep_logits = True  # for the confidence
        self.model.predict_depth, self.model.predict_density = depth, density
        self.pipeline = Compose(cfg.test_pipeline)
        self.meta = class_meta(cfg)

    @torch.no_grad()
    def __call__(self, path: str) -> Prediction:
        """Predict an image file."""
        item = self.pipeline({'img_path': path})
        sample = self.model.test_step(pseudo_collate([item]))[0]
        logits = sample.seg_logits.data  # (C, H, W)
        confidence, _ = softmax_confidence(logits[None])
        depth = metres(sample.pred_depth_map.data[0]).cpu().numpy() if self.model.predict_depth else None
        density = None
        if self.model.predict_density:
            density = (sample.pred_density_map.data[0] / 255).clamp(0, 1).cpu().numpy()
        return Prediction(logits.argmax(0).to('cpu', torch.uint8).numpy(), confidence[0].cpu().numpy(), depth, density)


def class_meta(cfg: Config) -> dict:
    """Names (``classes``) and ``palette`` of the classes of a config's network."""
    own = cfg.test_dataloader.dataset.get('ids')  # a FolderDataset's; the others have a class set of the network's size
    return metainfo(list(own) if own else cfg.model.student.decode_head.num_classes)


def load_model(cfg: Config, checkpoint: str | Path) -> UDASegmentor:
    """The model of a config with the weights of a checkpoint, in eval mode.

    The checkpoint may be of any layout that :func:`mmuda.utils.weights.start_state` knows. Of the evaluated network an
    auxiliary head alone may be missing; what else only training needs (a discriminator, say) may be in one and not in
    the other.

    Raises:
        ValueError: If the checkpoint does not fit the config.
    """
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    state = load_safe(checkpoint)
    try:
        missing, unexpected = model.load_state_dict(state.get('state_dict', state), strict=False)
    except ValueError as error:
        raise ValueError(f'{checkpoint} does not fit the model of {cfg.filename}: {error}') from error
    place = next(name for name, module in model.named_modules() if module is model.network)
    other = [key for key in missing if key.startswith(f'{place}.') and not key.startswith(f'{place}.auxiliary_head.')]
    if other := other + [key for key in unexpected if key.startswith(('student.', 'teacher.'))]:
        raise ValueError(f'{checkpoint} does not fit the model of {cfg.filename}: only one of them has {min(other)}')
    return model.eval()


def load_image(path: str) -> np.ndarray:
    """Read an image file: BGR uint8 (H, W, 3)."""
    return decode_image(fileio.get(path), path)


def val_items(cfg: Config, count: int | None = None) -> list[dict]:
    """What a pipeline starts from (``img_path``, ``name``, ``seg_map_path``, ...) for the images a config validates on.

    Args:
        cfg: The config.
        count: Take so many, evenly spread; None takes all.
    """
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    number = len(dataset) if count is None else min(count, len(dataset))
    return [dataset.get_data_info(int(index)) for index in np.linspace(0, len(dataset) - 1, number)]


def check_same_classes(predictors: Mapping[str, Predictor]) -> None:
    """Raise a ValueError if the networks, by title, differ in their classes."""
    classes = {title: tuple(predictor.meta['classes']) for title, predictor in predictors.items()}
    if len(set(classes.values())) > 1:
        each = ', '.join(f'{title} has {len(names)} ({names[0]}, ...)' for title, names in classes.items())
        raise ValueError(f'only networks of the same classes can be compared: {each}')


def comparison(predictors: Mapping[str, Predictor], items: Sequence[dict], errors: bool = False) -> np.ndarray:
    """A sheet with a row for each image: the image, the truth, and what each network predicts.

    Args:
        predictors: Title -> network, all of the same classes.
        items: The images, each as :func:`val_items` gives it, or only its ``img_path``: then there is no truth, which
            has to hold for all of them.
        errors: Beside each prediction, mark where it is wrong; needs the truth.

    Returns:
        BGR uint8 (H, W, 3).

    Raises:
        ValueError: If an image or a label file cannot be read; names it.
    """
    rows = []
    for item in items:
        image = load_image(item['img_path'])
        truth = LoadLabels(same_size=False)(item).get('gt_seg_map')
        row = {'image': image} | ({} if truth is None else {'truth': truth})
        for title, predictor in predictors.items():
            row[title] = predictor(item['img_path']).label
            if errors and truth is not None:
                truth = cv2.resize(truth, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
                row[f'{title}: errors'] = mistakes(image, row[title], truth)
        rows.append(row)
    return sheet(rows, next(iter(predictors.values())).meta, height=128)
