from .constructor import NetworkOptimConstructor
from .repeated_sgd import RepeatedSGD

__all__ = ['NetworkOptimConstructor', 'RepeatedSGD']
