"""The target's training images from easy to hard, and a label for each: what IDA trains on (DAF+IDA spec 6.2).

An image is hard where the network is unsure of what it takes for near: its score is the mean of self-information times
inverse depth. One forward pass per image gives the score and the label, which is the most probable class of every
pixel, without a threshold.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dist import barrier, get_dist_info, is_main_process
from mmengine.registry import init_default_scope
from torch import Tensor

from mmuda.datasets.base import DomainDataset, stored_label
from mmuda.models.losses import self_information
from mmuda.models.necks.depth_guide import logits_and_depth
from mmuda.models.uda.base import UDASegmentor
from mmuda.offline import manifest
from mmuda.offline.predictions import Enlarger, images_of, load_network, made_from, prepared, target_images
from mmuda.offline.pseudo_labels import write_label
from mmuda.offline.selectors import bands, top_class
from mmuda.utils.files import write_whole
from mmuda.utils.progress import progress
from mmuda.utils.threads import in_threads

KIND = 'ranking'
EASY, HARD = 'easy.txt', 'hard.txt'
"""Lists of images, by their paths below the image folder, in ascending order of their scores."""


def rank_images(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path,
    *,
    ratio: float = 0.66,
    easy_list: str | None = None,
    rare_classes: Sequence[int] | None = None,
    num_workers: int = 2,
) -> dict[str, Any]:
    """Rank and label the images of a config's target training set with a network that predicts depth.

    Images go through the config's ``test_pipeline``; a label is an 8-bit PNG of train ids of the network's input size,
    at its image's place below ``out``. Run again after an interruption, with the same arguments, it goes on; run again
    when finished, it does nothing.

    Args:
        cfg: Config of a UDA model, whose student has a neck such as ``DepthGuide``, and its data.
        checkpoint: Weights.
        out: Folder of the lists and labels; all processes must see it.
        ratio: Share of the images that is easy, rounded down.
        easy_list: List file of the easy images, in place of their share; the published one of Cityscapes is
            ``'cityscapes_easy.txt'``, which this package brings along. The scores only order the images then.
        rare_classes: Class ids by which scores are weighted: an image that shows many of them is easier. The
            reference's README command does so whatever it is told (trap 4); by default nothing is weighted.
        num_workers: Processes that load images, for each process of the step.

    Returns:
        The manifest: ``kind``, ``files``, ``count``, ``checkpoint`` (hash), ``ratio``, ``easy`` (what
        ``easy_list`` holds), ``rare_classes``, ``config`` (hash of model and pipeline), ``classes``, ``code`` (hash),
        ``version``, and ``scores`` by image.

    Raises:
        ValueError: A setting, checkpoint or image is wrong, or ``out`` holds something else.
        OSError: A file is missing, or ``out`` cannot be written.
    """
    if not 0 < ratio < 1:
        raise ValueError(f'ratio={ratio}: give a share of easy images above 0 and below 1')
    init_default_scope(cfg.default_scope)
    out, dataset = Path(out), target_images(cfg)
    images = images_of(dataset)
    given = None if easy_list is None else sorted(images_of(target_images(cfg, split=easy_list)))
    if foreign := set(given or ()).difference(images):
        raise ValueError(f'{easy_list} lists {min(foreign)}, which is no image of the target training set')
    files = [*map(stored_label, images), EASY, HARD]
    job = {
        'kind': KIND,
        'files': files,
        'count': len(files),
        **made_from(
            cfg,
            checkpoint,
            dataset,
            ratio=None if easy_list else ratio,
            easy=given,
            rare_classes=None if rare_classes is None else list(rare_classes),
        ),
    }
    if manifest.claim(out, job):
        model = load_network(cfg, checkpoint, dataset)
        manifest.begin(out, job)
        _score_all(model, dataset, out, images, rare_classes, num_workers)
        barrier()
        if is_main_process():
            scores = {image: json.loads(_score_file(out, index).read_text()) for index, image in enumerate(images)}
            for name, part in zip((EASY, HARD), split(scores, ratio, given), strict=True):
                write_whole(out / name, ''.join(f'{image}\n' for image in part))
            manifest.write(out, job | {'scores': scores})
    return manifest.finish(out, KIND)


def split(
    scores: Mapping[str, float], ratio: float, given: Collection[str] | None = None
) -> tuple[list[str], list[str]]:
    """Easy and hard images, each in ascending order of scores; images of equal scores stay in their order.

    Args:
        scores: Of every image.
        ratio: Share of the easy ones, rounded down.
        given: The easy ones, in place of their share.
    """
    ranked = sorted(scores, key=scores.__getitem__)
    easy = set(ranked[: int(len(ranked) * ratio)] if given is None else given)
    return [image for image in ranked if image in easy], [image for image in ranked if image not in easy]


def score_and_label(logits: Tensor, depth: Tensor, rare_classes: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Score and label one image.

    Args:
        logits: (C, H, W).
        depth: Inverse depth (H, W); it may be negative.
        rare_classes: See :func:`rank_images`.

    Returns:
        The mean over classes and pixels of self-information times depth, float64; with R rare classes, n of them in the
        label, times (R - n) / R + 0.5. And the most probable class (H, W) uint8.
    """
    label = torch.empty(depth.shape, dtype=torch.uint8, device=logits.device)
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    flat_label, flat_depth = label.view(-1), depth.flatten()
    for band, pixels in bands(logits):  # (C, n)
        entropy = self_information(pixels[None])[0].sum(0)
        total += (entropy * flat_depth[band]).sum(dtype=torch.float64)
        flat_label[band] = top_class(pixels)[1]
    score = total / logits.numel()
    if rare_classes is not None:
        rare = torch.tensor(list(rare_classes), device=logits.device)
        shown = torch.bincount(flat_label, minlength=256)[rare].count_nonzero()
        score = score * ((len(rare) - shown) / len(rare) + 0.5)
    return score, label


@torch.no_grad()
def _score_all(
    model: UDASegmentor,
    dataset: DomainDataset,
    out: Path,
    images: list[str],
    rare_classes: Sequence[int] | None,
    num_workers: int,
) -> None:
    """Score and label this process's share of the images, those that an interrupted run has not."""
    rank, world_size = get_dist_info()
    enlarge = Enlarger(model.network.align_corners)
    mine = [
        index for index in range(rank, len(images), world_size) if not (out / stored_label(images[index])).is_file()
    ]

    def results() -> Iterator[tuple[Path, Tensor, Path, Tensor]]:
        for index, batch in zip(mine, prepared(model, dataset, mine, num_workers), strict=True):
            with model.autocast():
                logits, depth = logits_and_depth(model.network, batch['inputs'])
            size = tuple(batch['inputs'].shape[-2:])
            depth = F.interpolate(depth, size=size, mode='bilinear', align_corners=True)[0, 0]  # (H, W)
            score, label = score_and_label(enlarge(logits, size)[0], depth, rare_classes)
            yield _score_file(out, index), score, out / stored_label(images[index]), label

    for _ in progress(in_threads(_write, results()), len(mine), KIND):
        pass


def _write(score_file: Path, score: Tensor, label_file: Path, label: Tensor) -> None:
    write_whole(score_file, json.dumps(float(score)))  # first: who finds the label relies on it
    write_label(label_file, label.cpu().numpy())


def _score_file(out: Path, index: int) -> Path:
    return out / manifest.UNFINISHED / f'{index:06d}.json'
