from .adabn import AdaBN
from .base import UDASegmentor
from .ehtdi import EHTDI, EHTDIEdge
from .ldbe import BoundaryEnhancement, LabelDenoising
from .supervised import Supervised

__all__ = ['EHTDI', 'AdaBN', 'BoundaryEnhancement', 'EHTDIEdge', 'LabelDenoising', 'Supervised', 'UDASegmentor']
