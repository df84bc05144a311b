import mmuda.datasets  # noqa: F401  (imports mmseg.datasets quietly before mmseg.models does it aloud)
from mmuda.utils.checkpoint import install_safe_loader

from . import backbones, discriminators, heads, losses, necks, uda
from .data_preprocessor import DomainDataPreprocessor
from .step_parallel import StepParallel
from .tta import SummedProbabilities, TTAModel

install_safe_loader()  # whoever builds one of our models may load a checkpoint into it next

__all__ = [
    'DomainDataPreprocessor',
    'StepParallel',
    'SummedProbabilities',
    'TTAModel',
    'backbones',
    'discriminators',
    'heads',
    'losses',
    'necks',
    'uda',
]
