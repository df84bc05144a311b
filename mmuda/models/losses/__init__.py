from .contrast import class_prototypes, probability_contrast, prototype_contrast
from .cross_entropy import auxiliary_loss, cross_entropy, softmax_confidence

__all__ = [
    'auxiliary_loss',
    'class_prototypes',
    'cross_entropy',
    'probability_contrast',
    'prototype_contrast',
    'softmax_confidence',
]
