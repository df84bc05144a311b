from .adabn import AdaBN
from .base import UDASegmentor
from .ehtdi import EHTDI, EHTDIEdge
from .supervised import Supervised

__all__ = ['EHTDI', 'AdaBN', 'EHTDIEdge', 'Supervised', 'UDASegmentor']
