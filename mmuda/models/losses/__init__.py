from .contrast import class_prototypes, probability_contrast, prototype_contrast
from .cross_entropy import cross_entropy, softmax_confidence

__all__ = [
    'class_prototypes',
    'cross_entropy',
    'probability_contrast',
    'prototype_contrast',
    'softmax_confidence',
]
