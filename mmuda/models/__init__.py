import mmuda.datasets  # noqa: F401  (imports mmseg.datasets quietly before mmseg.models does it aloud)

from . import backbones, heads, losses, uda
from .data_preprocessor import DomainDataPreprocessor

__all__ = ['DomainDataPreprocessor', 'backbones', 'heads', 'losses', 'uda']
