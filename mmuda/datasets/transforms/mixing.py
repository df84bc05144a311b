"""Random numbers for the class choices that a training step makes."""

import numpy as np
from mmcv.transforms import BaseTransform

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
