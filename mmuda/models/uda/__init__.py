from .adabn import AdaBN
from .base import UDASegmentor
from .ehtdi import EHTDI
from .supervised import Supervised

__all__ = ['EHTDI', 'AdaBN', 'Supervised', 'UDASegmentor']
