"""The scores of a checkpoint for every image of a data set: one forward pass each, kept on disk for further looks."""

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.dist import get_dist_info
from mmengine.model import revert_sync_batchnorm
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from mmuda import __version__
from mmuda.datasets.base import DomainDataset
from mmuda.engine.stamps import code_hash, config_hash, file_hash
from mmuda.models.uda.base import UDASegmentor
from mmuda.offline.batch_norm import BatchStatistics
from mmuda.registry import DATASETS
from mmuda.utils.files import write_whole
from mmuda.utils.inference import load_model
from mmuda.utils.threads import in_threads

Size = tuple[int, int]

# NumPy reads a header by Python's parser, which two threads of Python 3.11 must not enter at a time (CPython's issue
# 106905: a SystemError now and then).
_HEADERS = threading.Lock()


@dataclass
class Scores:
    """What the network says about one image.

    Attributes:
        index: The image's number in the data set.
        logits: Of the head, (1, C, h, w) float32, on the device.
        input_size: (H, W) of the network's input.
        label_size: (H, W) of the image file, and so of its label.
        enlarge: Makes logits larger; the result is good until the next call for the same size.
    """

    index: int
    logits: Tensor
    input_size: Size
    label_size: Size
    enlarge: 'Enlarger'

    def at_input(self) -> Tensor:
        """Logits at the network's input size (C, H, W)."""
        return self.enlarge(self.logits, self.input_size)[0]

    def at_label(self) -> Tensor:
        """Logits at the label's size (C, H, W): those at input size, interpolated again (LDBE spec 6.2, T16)."""
        return self.enlarge(self.enlarge(self.logits, self.input_size), self.label_size)[0]


class Enlarger:
    """Bilinear interpolation into memory that is used again, one piece for each size.

    A new map of 19 x 1024 x 2048 for every image costs a CPU more than to compute its values.

    Args:
        align_corners: As in :func:`torch.nn.functional.interpolate`, whose values these are.
    """

    def __init__(self, align_corners: bool) -> None:
        self.align_corners = align_corners
        self.memory: dict[Size, Tensor] = {}

    def __call__(self, logits: Tensor, size: Size) -> Tensor:
        """Logits (1, C, h, w) at ``size``."""
        if logits.shape[-2:] == size:
            return logits
        if size not in self.memory:
            if len(self.memory) == 2:  # input and label; images of many sizes
                self.memory.clear()
            self.memory[size] = logits.new_empty(*logits.shape[:2], *size)
        out = self.memory[size]
        return torch.ops.aten.upsample_bilinear2d.out(logits, size, self.align_corners, out=out)


class Predictions:
    """Scores of a network for the images of a data set.

    :meth:`stream` gives the scores of any images of this process; those of an image are computed once, by one forward
    pass of batch 1, and read from the cache ever after, also by the next run if this one is interrupted. The cache
    holds float32 logits as the head gives them (Cityscapes train at 65x129 for 19 classes: 1.9 GB) and, with
    ``bn_mode='batch'``, the statistics of the last images (ResNet-101: 0.4 MB for each of 198 images).

    Args:
        model: Its evaluated network is asked, in the model's precision. It must not be trained afterwards.
        dataset: Images with the pipeline of the network's input.
        cache: Folder of the cache.
        bn_mode: ``'running'`` normalises by the running statistics, ``'batch'`` by each image's own (LDBE spec T7).
        num_workers: Processes that load images.

    Raises:
        ValueError: The network has to be applied in windows, or ``bn_mode`` is neither.
    """

    def __init__(
        self,
        model: UDASegmentor,
        dataset: DomainDataset,
        cache: Path,
        bn_mode: str = 'running',
        num_workers: int = 2,
    ) -> None:
        if model.network.test_cfg.get('mode', 'whole') != 'whole':
            raise ValueError("model.student.test_cfg.mode must be 'whole': scores of windows are not kept")
        if bn_mode not in ('running', 'batch'):
            raise ValueError(f"bn_mode={bn_mode!r}: choose 'running' or 'batch'")
        self.model = revert_sync_batchnorm(model).eval()
        self.dataset, self.cache, self.num_workers = dataset, cache, num_workers
        self.device = model.data_preprocessor.device
        self.statistics = BatchStatistics(self.model.network) if bn_mode == 'batch' else None
        self.enlarge = Enlarger(model.network.align_corners)
        rank, world_size = get_dist_info()
        self.mine = range(rank, len(dataset), world_size)

    def stream(self, indices: Sequence[int]) -> Iterator[Scores]:
        """Scores of some images, in their order, each on disk when it is given.

        Raises:
            ValueError: An image is broken, or its scores are not finite; names the file.
        """
        return in_threads(self._settle, self._compute(indices))

    def running_statistics(self, passes: int) -> list[dict[str, Tensor]]:
        """The running statistics that passes over all images in order would leave; see :class:`BatchStatistics`."""
        last = range(len(self.dataset))[-self.statistics.horizon :]
        vectors = [np.load(self._open(index))['statistics'] for index in last]
        return self.statistics.replay(vectors, len(self.dataset), passes)

    @torch.no_grad()
    def _compute(self, indices: Sequence[int]) -> Iterator[tuple[int, Scores | None, Tensor | None]]:
        """Forward passes of the images that the cache lacks; ``(index, None, None)`` for those that it has."""
        missing = [index for index in indices if not self._file(index).is_file()]
        batches = prepared(self.model, self.dataset, missing, self.num_workers)
        missing = set(missing)
        for index in indices:
            if index not in missing:
                yield index, None, None
                continue
            batch = next(batches)
            logits = self.model(batch['inputs'], mode='tensor').float().contiguous()  # (1, C, h, w)
            sizes = tuple(batch['inputs'].shape[-2:]), tuple(batch['data_samples'][0].ori_shape)
            wanted = self.statistics is not None and index >= len(self.dataset) - self.statistics.horizon
            yield index, Scores(index, logits, *sizes, self.enlarge), self.statistics.read() if wanted else None

    def _settle(self, index: int, scores: Scores | None, statistics: Tensor | None) -> Scores:
        """Write what is new, read what is not."""
        if scores is None:
            file = self._open(index)
            with _HEADERS:
                content = dict(np.load(file))
            logits = torch.from_numpy(content['logits']).to(self.device)
            return Scores(index, logits, *(tuple(size) for size in content['sizes'].tolist()), self.enlarge)
        content = {'logits': scores.logits.cpu().numpy(), 'sizes': np.array([scores.input_size, scores.label_size])}
        if not np.isfinite(content['logits']).all():
            raise ValueError(
                f'{self.dataset.get_data_info(index)["img_path"]}: the network gives scores that are not finite; take '
                'another checkpoint'
            )
        if statistics is not None:
            content['statistics'] = statistics.cpu().numpy()
        buffer = io.BytesIO()
        np.savez(buffer, **content)
        write_whole(self._file(index), buffer.getvalue())
        return scores

    def _file(self, index: int) -> Path:
        return self.cache / f'{index:06d}.npz'

    def _open(self, index: int) -> io.BytesIO:
        return io.BytesIO(fileio.get(self._file(index)))


def prepared(model: UDASegmentor, dataset: DomainDataset, indices: Sequence[int], num_workers: int) -> Iterator[dict]:
    """Some images of a data set as a model takes them, one at a time, on its device."""
    loader = DataLoader(
        Subset(dataset, indices),
        num_workers=min(num_workers, len(indices)),
        collate_fn=pseudo_collate,
        pin_memory=model.data_preprocessor.device.type == 'cuda',
        worker_init_fn=_one_thread,
    )
    for batch in loader:
        yield model.data_preprocessor(batch, training=False)


def load_network(cfg: Config, checkpoint: str | Path, dataset: DomainDataset) -> UDASegmentor:
    """The model of a config with a checkpoint's weights, in eval mode on the device, for the classes of a data set.

    Raises:
        ValueError: The network and the data set differ in their classes, or the checkpoint does not fit.
    """
    model, classes = load_model(cfg, checkpoint).to(get_device()), len(dataset.metainfo['classes'])
    if model.out_channels != classes:
        raise ValueError(
            f'the network has {model.out_channels} classes, the target data set {classes}: give the data set the '
            'classes= of the network'
        )
    return model


def predict(
    cfg: Config, checkpoint: str | Path, dataset: DomainDataset, cache: Path, bn_mode: str, num_workers: int
) -> Predictions:
    """What a config's network with a checkpoint's weights says of a data set's images; see :class:`Predictions`.

    Raises:
        ValueError: The network and the data set differ in their classes, or one of them cannot be used.
    """
    return Predictions(load_network(cfg, checkpoint, dataset), dataset, cache, bn_mode, num_workers)


def made_from(cfg: Config, checkpoint: str | Path, dataset: DomainDataset, **settings: Any) -> dict[str, Any]:
    """What a step's files are a function of, images aside: checkpoint, settings, model and pipeline, classes, code."""
    return {
        'checkpoint': file_hash(checkpoint),
        **settings,
        'config': config_hash({key: cfg.to_dict()[key] for key in ('model', 'test_pipeline')}),
        'classes': list(dataset.metainfo['classes']),
        'code': code_hash(),
        'version': __version__,
    }


def target_images(cfg: Config, **settings: Any) -> DomainDataset:
    """The images of a config's target training set as its ``test_pipeline`` prepares them; no label is read.

    Args:
        cfg: The config.
        **settings: What else differs from the training set, such as ``split``.

    Raises:
        ValueError: The config trains without a target.
    """
    target = cfg.train_dataloader.dataset.get('target')
    if target is None:
        raise ValueError(f'{cfg.filename}: train_dataloader.dataset has no target to label; take a config that has one')
    changes = dict(with_labels=False, label_dir=None, cache=None, pipeline=cfg.test_pipeline, test_mode=True)
    return DATASETS.build(dict(target) | changes | settings)


def images_of(dataset: DomainDataset) -> list[str]:
    """Paths of a data set's images below its image folder."""
    return [dataset.get_data_info(index)['image'] for index in range(len(dataset))]


def _one_thread(_: int) -> None:
    """Loader workers share the cores among them."""
    cv2.setNumThreads(0)
