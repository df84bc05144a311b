from mmuda.offline.class_stats import class_statistics
from mmuda.offline.pseudo_labels import write_pseudo_labels
from mmuda.offline.ranking import rank_images
from mmuda.offline.selectors import (
    SELECTORS,
    ClassBalanced,
    FixedThreshold,
    GlobalLocal,
    HalfClassBalanced,
    InstanceAdaptive,
    Selector,
)

__all__ = [
    'SELECTORS',
    'ClassBalanced',
    'FixedThreshold',
    'GlobalLocal',
    'HalfClassBalanced',
    'InstanceAdaptive',
    'Selector',
    'class_statistics',
    'rank_images',
    'write_pseudo_labels',
]
