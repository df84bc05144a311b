from .adversarial import SOURCE, TARGET, binary_cross_entropy, least_squares
from .berhu import berhu
from .contrast import class_prototypes, probability_contrast, prototype_contrast
from .cross_entropy import auxiliary_loss, cross_entropy, nll, softmax_confidence
from .entropy import mean_entropy, self_information

__all__ = [
    'SOURCE',
    'TARGET',
    'auxiliary_loss',
    'berhu',
    'binary_cross_entropy',
    'class_prototypes',
    'cross_entropy',
    'least_squares',
    'mean_entropy',
    'nll',
    'probability_contrast',
    'prototype_contrast',
    'self_information',
    'softmax_confidence',
]
