from mmuda.offline.class_stats import class_statistics
from mmuda.offline.comparison import RULES, compare_selectors, comparison_table
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
    'RULES',
    'SELECTORS',
    'ClassBalanced',
    'FixedThreshold',
    'GlobalLocal',
    'HalfClassBalanced',
    'InstanceAdaptive',
    'Selector',
    'class_statistics',
    'compare_selectors',
    'comparison_table',
    'fit_density',
    'rank_images',
    'write_density_maps',
    'write_pseudo_labels',
]
