"""MiniCity: generated street scenes in two looks, written in the layouts of the real data sets.

From the numbers to the picture: ``domains`` (what differs between source and target) -> ``scene`` (what stands where;
``things`` draws one object each, ``pencil`` holds the vocabulary) -> ``render`` (pixels, labels, depth) -> ``writers``
(layouts on disk) -> ``generate`` (seeds, workers, manifest).
"""

from .domains import SHIFTS
from .generate import GENERATOR_VERSION, ensure, generate, make
from .sheets import sheet
from .writers import LAYOUTS

__all__ = ['GENERATOR_VERSION', 'LAYOUTS', 'SHIFTS', 'ensure', 'generate', 'make', 'sheet']
