from .adabn import AdaBN
from .adversarial import Adversarial, MinEnt
from .base import UDASegmentor
from .daf_ida import DAF
from .depth_distribution import DensityDepthSegmentor, DepthDistribution
from .ehtdi import EHTDI, EHTDIEdge
from .hiast import HIAST, IAST
from .ldbe import BoundaryEnhancement, LabelDenoising
from .self_training import SelfTraining
from .supervised import Supervised

__all__ = [
    'DAF',
    'EHTDI',
    'HIAST',
    'IAST',
    'AdaBN',
    'Adversarial',
    'BoundaryEnhancement',
    'DensityDepthSegmentor',
    'DepthDistribution',
    'EHTDIEdge',
    'LabelDenoising',
    'MinEnt',
    'SelfTraining',
    'Supervised',
    'UDASegmentor',
]
