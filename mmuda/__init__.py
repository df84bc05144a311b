"""Unsupervised domain adaptive semantic segmentation on MMSegmentation 1.x.

Importing :mod:`mmuda` is light: it checks the installed OpenMMLab stack and registers nothing. The registries of
:mod:`mmuda.registry` import the sub-packages when a config first names one of their types (``mmuda.EHTDI``).
"""

from mmuda.utils.versions import check_stack
from mmuda.version import __version__

check_stack()

__all__ = ['__version__']
