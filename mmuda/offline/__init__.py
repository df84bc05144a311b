from mmuda.offline.class_stats import class_statistics
from mmuda.offline.pseudo_labels import write_pseudo_labels
from mmuda.offline.selectors import SELECTORS, ClassBalanced, FixedThreshold, GlobalLocal, Selector

__all__ = [
    'SELECTORS',
    'ClassBalanced',
    'FixedThreshold',
    'GlobalLocal',
    'Selector',
    'class_statistics',
    'write_pseudo_labels',
]
