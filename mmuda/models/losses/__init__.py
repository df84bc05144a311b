from .contrast import class_prototypes, probability_contrast, prototype_contrast
from .cross_entropy import auxiliary_loss, cross_entropy, nll, softmax_confidence

__all__ = [
    'auxiliary_loss',
    'class_prototypes',
    'cross_entropy',
    'nll',
    'probability_contrast',
    'prototype_contrast',
    'softmax_confidence',
]
