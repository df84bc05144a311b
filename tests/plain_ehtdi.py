"""The plain forms of EHTDI's parts: its steps one by one, with loops, as the reference takes them (EHTDI spec 2 and 4).

The oracles of the fast forms, and what ``tools/benchmark.py parts`` measures them against.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmuda.datasets.transforms.geometric import draw_crop
from mmuda.datasets.transforms.photometric import change_colours, draw_colour_change


def train_ids(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Map raw ids (H, W) uint8 to train ids, float32: one mask per id of Cityscapes (spec 2.2)."""
    label = ids.astype(np.float32)
    for raw in range(35):
        label[ids == raw] = table[raw]
    return label


def augment(image: Tensor, label: Tensor, size: tuple[int, int], mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weak and strong view and label of one random crop, from within a training step (spec 2.4).

    Args:
        image: (3, H, W) float32, BGR minus ``mean``.
        label: (H, W) int64.
        size: Height and width of the crop.
        mean: (3,).

    Returns:
        Weak and strong view (3, h, w) float32 minus ``mean``, and the label (h, w) int64.
    """
    pixels = (image.permute(1, 2, 0) + mean).round().to(torch.uint8).numpy()
    top, left, h, w = draw_crop(*pixels.shape[:2])
    box, shape = np.s_[top : top + h, left : left + w], size[::-1]
    weak = cv2.resize(np.ascontiguousarray(pixels[box]), shape, interpolation=cv2.INTER_LINEAR)
    strong = change_colours(weak, draw_colour_change())
    cropped = cv2.resize(label.numpy().astype(np.int32)[box], shape, interpolation=cv2.INTER_NEAREST)
    views = ((torch.from_numpy(view).float() - mean).permute(2, 0, 1).contiguous() for view in (weak, strong))
    return *views, torch.from_numpy(cropped).long()


def draw_and_paste(label: Tensor, draws: list[int] | None) -> tuple[Tensor, list[int], Tensor]:
    """Choose classes of one label map, class by class, and return the pasted area (spec 4.2).

    Args:
        label: (h, w) int64, -1 = ignore.
        draws: Indices into the n candidates as the reference drew them; None draws them.

    Returns:
        The mask (h, w), the ids chosen, and the labels of the pasted pixels (h, w), -1 elsewhere.
    """
    n = len([i for i in label.unique() if i > 4])  # ids ascend, ignore first
    k = n if n < 2 else n // 2
    if draws is None:
        draws = torch.randperm(n)[:k].tolist()
    mask, chosen, pasted = torch.zeros(label.shape), [], torch.full(label.shape, -1)
    for r in draws[:k]:
        chosen.append(int(label.unique()[len(label.unique()) - n - 1 + r]))  # one too low: the reference's slip (T1)
        area = (label == chosen[-1]).float()
        mask = mask + area
        pasted = (area * label + (1 - area) * pasted).long()
    return mask > 0, chosen, pasted


def contrast(student: Tensor, other: Tensor, scale: float) -> Tensor:
    """The contrast of N pairs of rows (N, C): the whole matrix, its diagonal excluded, cross entropy (spec 4.4)."""
    rows = torch.cat([student, other])
    logits = scale * rows @ rows.T
    logits = logits.masked_fill(torch.eye(len(rows), dtype=torch.bool), -torch.inf)
    count = len(student)
    target = torch.cat([torch.arange(count) + count, torch.arange(count)])
    return F.cross_entropy(logits, target)


def border(mask: np.ndarray) -> np.ndarray:
    """The border of one mask (h, w) uint8: OpenCV's dilation minus erosion (spec 4.5)."""
    kernel = np.ones((2, 2), np.uint8)
    return cv2.dilate(mask, kernel) - cv2.erode(mask, kernel)


def follow(shadow: nn.Module, student: nn.Module, momentum: float) -> None:
    """One step of the average, tensor by tensor (spec 5)."""
    averaged, current = shadow.state_dict(), student.state_dict()
    for name, _ in student.named_parameters():
        averaged[name].copy_((1 - momentum) * averaged[name] + momentum * current[name])


def sgd_step(groups: list[dict], buffers: dict[Tensor, Tensor]) -> None:
    """A step of SGD that goes through its parameters one by one and through each as often as it is listed (T4).

    Args:
        groups: Parameter groups with ``params``, ``lr``, ``momentum``, ``weight_decay`` and ``repeat``.
        buffers: The momentum of each parameter, changed in place; empty before the first step.
    """
    for group in groups:
        for parameter in group['params']:
            if parameter.grad is None:
                continue
            started = parameter in buffers
            for _ in range(group['repeat']):
                change = parameter.grad + group['weight_decay'] * parameter.data
                buffers[parameter] = group['momentum'] * buffers[parameter] + change if started else change
                parameter.data.add_(buffers[parameter], alpha=-group['lr'])
