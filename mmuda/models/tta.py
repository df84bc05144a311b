"""Test-time augmentation."""

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from torch import Tensor, nn

from mmuda.registry import MODELS

Size = tuple[int, int]  # height, width


@MODELS.register_module()
class TTAModel(SegTTAModel):
    """mmseg's average over augmented images, which takes the logits of each; a plain prediction does not keep them.

    Args:
        module: The segmentor or its config.
        **kwargs: Of mmengine's ``BaseTTAModel``.
    """

    def __init__(self, module: dict | nn.Module, **kwargs: Any) -> None:
        super().__init__(module, **kwargs)
        self.module.keep_logits = True


@MODELS.register_module()
class SummedProbabilities(SegTTAModel):
    """The largest of :func:`summed_probabilities`: how HIAST and IAST score their final networks (HIAST spec 1).

    Images come whole and as large as their labels: the pipeline resizes nothing.

    Args:
        sizes: Heights and widths that an image is resized to.
        flip: Whether each is also seen flipped.
        module: The segmentor or its config.
        **kwargs: Of mmengine's ``BaseTTAModel``.
    """

    def __init__(self, *, sizes: Sequence[Size], flip: bool = False, module: dict | nn.Module, **kwargs: Any) -> None:
        super().__init__(module, **kwargs)
        self.sizes = [tuple(size) for size in sizes]
        self.flip = flip

    def test_step(self, data: dict) -> list:
        """Predict a batch of one."""
        data = self.module.data_preprocessor(data, training=False)
        [sample] = data['data_samples']

        def logits_of(image: Tensor) -> Tensor:
            logits = self.module(image, mode='tensor').float()  # (1, C, h, w)
            return self.module.upsample(logits, image)

        prob = summed_probabilities(logits_of, data['inputs'], self.sizes, self.flip)
        sample.pred_sem_seg = PixelData(data=prob.argmax(1))  # (1, H, W)
        return [sample]


def summed_probabilities(
    logits_of: Callable[[Tensor], Tensor], image: Tensor, sizes: Sequence[Size], flip: bool = False
) -> Tensor:
    """Class probabilities of an image seen at several sizes, summed at its own size.

    Image and probabilities are resized as float maps, bilinearly with aligned corners; the probabilities are those at
    the size that the network sees, unlike in mmseg's average, which resizes logits.

    Args:
        logits_of: From an image (N, 3, h, w) to its logits (N, C, h, w).
        image: Normalised, (N, 3, H, W).
        sizes: Heights and widths that the image is resized to.
        flip: Whether each is also seen flipped; the probabilities, flipped back, are added.

    Returns:
        (N, C, H, W); over the classes they add up to the number of views.
    """

    def resized(maps: Tensor, size: Size) -> Tensor:
        return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)

    total = 0
    for size in sizes:
        seen = resized(image, size)
        prob = logits_of(seen).softmax(1)
        if flip:
            prob = prob + logits_of(seen.flip(3)).softmax(1).flip(3)
        total = total + resized(prob, image.shape[-2:])
    return total
