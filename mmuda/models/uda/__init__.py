from .adabn import AdaBN
from .adversarial import Adversarial, MinEnt
from .base import UDASegmentor
from .ehtdi import EHTDI, EHTDIEdge
from .ldbe import BoundaryEnhancement, LabelDenoising
from .supervised import Supervised

__all__ = [
    'EHTDI',
    'AdaBN',
    'Adversarial',
    'BoundaryEnhancement',
    'EHTDIEdge',
    'LabelDenoising',
    'MinEnt',
    'Supervised',
    'UDASegmentor',
]
