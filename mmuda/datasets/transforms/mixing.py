"""Mixing of images in the loader, and random numbers for the class choices that a training step makes."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmuda.datasets.layout import join
from mmuda.datasets.transforms.loading import LoadImage, LoadLabels
from mmuda.registry import TRANSFORMS


@TRANSFORMS.register_module()
class DrawKeys(BaseTransform):
    """Adds ``keys``: one uniform random number per id (ignore first, then the classes), float64 (1 + num_classes,).

    A step that draws classes on the device ranks by these instead of drawing itself. The choice then belongs to the
    sample: it is the same in any batch and on any process, and a resumed run repeats it.

    Args:
        num_classes: Number of classes of the network.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def transform(self, results: dict) -> dict:
        """Add ``keys`` to the results."""
        results['keys'] = np.random.rand(self.num_classes + 1)
        return results


class Donors(NamedTuple):
    """What :class:`HardClassCopyPaste` draws from and pastes.

    Attributes:
        files: label file of each image of the target.
        lists: for each class, which of them to take it from.
        share: of each class in the draws, (C,).
        pasted: which ids of a label are pasted, (256,) uint8, 0 or 1.
    """

    files: list[str]
    lists: list[np.ndarray]
    share: np.ndarray
    pasted: np.ndarray


@TRANSFORMS.register_module()
class HardClassCopyPaste(BaseTransform):
    """Paste all hard classes of another image, as its pseudo-label has them, at their place (HIAST spec 6.2 and 6.3).

    A hard class is drawn, more often the less confident its selected pixels are, then one of the images with enough
    pixels of it; that may be the image itself. All of that image's hard classes are pasted. What the draws need stands
    in the manifest of the pseudo-labels and stays fixed while the labels do.

    Needs ``img`` and ``gt_seg_map`` of one size, of a data set with a ``label_dir``; both are replaced.

    Args:
        num_hard_classes: how many classes are hard, those of lowest confidence.
        ignored_classes: ids that never are; for SYNTHIA 9, 14 and 16, which its networks hardly predict.
    """

    def __init__(self, num_hard_classes: int = 14, ignored_classes: Sequence[int] = ()) -> None:
        self.num_hard_classes, self.ignored_classes = num_hard_classes, tuple(ignored_classes)
        self.load_image, self.load_labels = LoadImage(), LoadLabels(to_image=True)
        self._found: tuple[str, Donors] | None = None

    def transform(self, results: dict) -> dict:
        """Paste on one item, or leave it if no donor has a hard class."""
        donors = self._donors(results['label_dir'])
        if not donors.share.any():
            return results
        chosen = donors.lists[np.random.choice(len(donors.share), p=donors.share)]
        donor = self._load(results, donors.files[np.random.choice(chosen)])
        image, label = donor['img'], donor['gt_seg_map']
        if label.shape != results['gt_seg_map'].shape:
            size = results['gt_seg_map'].shape[::-1]
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
        mask = cv2.LUT(label, donors.pasted)
        results['img'] = cv2.copyTo(image, mask, results['img'].copy())
        results['gt_seg_map'] = cv2.copyTo(label, mask, results['gt_seg_map'].copy())
        return results

    def _load(self, results: dict, file: str) -> dict:
        image = PurePosixPath(file).with_suffix(PurePosixPath(results['image']).suffix).as_posix()
        donor = {
            'image': image,
            'img_path': results['img_path'].removesuffix(results['image']) + image,
            'seg_map_path': join(results['label_dir'], file),
            'seg_fields': [],
        }
        return self.load_labels(self.load_image(results | donor))

    def _donors(self, label_dir: str | None) -> Donors:
        if label_dir is None:
            raise ValueError(
                'HardClassCopyPaste takes its donors from pseudo-labels: run the recipe of its config, which makes '
                'them, or set train_dataloader.dataset.target.label_dir to a folder of tools/offline.py pseudo-labels.'
            )
        if self._found is None or self._found[0] != label_dir:
            self._found = label_dir, read_donors(label_dir, self.num_hard_classes, self.ignored_classes)
        return self._found[1]


def read_donors(label_dir: str, num_hard_classes: int, ignored_classes: Sequence[int] = ()) -> Donors:
    """What to draw from a folder of pseudo-labels.

    Raises:
        FileNotFoundError: the folder has no manifest.
        ValueError: the manifest is not one of pseudo-labels.
    """
    from mmuda.offline import manifest  # which imports the data sets

    content = manifest.read(label_dir, 'pseudo-labels')
    lists = donor_lists(np.array(content['pixels_by_image']))
    hard, share = hard_classes(np.array(list(content['confidence'].values())), num_hard_classes, ignored_classes)
    pasted = np.zeros(256, np.uint8)
    pasted[hard] = 1
    # The reference draws from all classes until it meets a hard one; one without donors makes it fail.
    share = share * pasted[: len(share)] * [len(images) > 0 for images in lists]
    return Donors(content['files'], lists, share / max(share.sum(), 1e-300), pasted)


def donor_lists(pixels: np.ndarray) -> list[np.ndarray]:
    """For each class the images to take it from: those that hold it, without the tenth that holds the least.

    Args:
        pixels: selected pixels of each image and class, (images, C).

    Returns:
        Numbers of images, by ascending number of pixels.
    """
    lists = []
    for counts in pixels.T:
        order = np.argsort(counts, kind='stable')[(counts == 0).sum() :]
        lists.append(order[round(0.1 * len(order)) :])  # half to even
    return lists


def hard_classes(confidence: np.ndarray, number: int, ignored: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray]:
    """The classes whose selected pixels are least confident, and how often a class is drawn.

    Args:
        confidence: of each class, (C,); see ``class_confidence`` of the pseudo-labels.
        number: how many classes are hard.
        ignored: ids that are neither hard nor drawn.

    Returns:
        The hard classes, hardest first; each class's share of the draws, (C,), (1 - confidence)^2 normalised.
    """
    order = np.argsort(confidence, kind='stable')
    weight = (1 - confidence) ** 2
    weight[list(ignored)] = 0
    return order[~np.isin(order, ignored)][:number], weight / max(weight.sum(), 1e-300)
