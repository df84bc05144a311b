from mmuda.offline.class_stats import class_statistics
from mmuda.offline.density import fit_density, write_density_maps
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
    'fit_density',
    'rank_images',
    'write_density_maps',
    'write_pseudo_labels',
]
