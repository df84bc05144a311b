"""Child registries of mmseg's, one per kind, under the scope ``mmuda``.

Configs set ``default_scope = 'mmuda'`` and write our own types as ``mmuda.X``; stock types stay unprefixed. That is the
one spelling with which training, testing and every stock mmseg tool (they hard-code the scope ``mmseg``) build our
configs without an import line. A look-up climbs to the parent without importing what the parent would, so each child
names the parent's packages beside its own.
"""

import mmengine.registry as _mmengine_registry
import mmseg.registry as _mmseg_registry
from mmengine.registry import Registry

# What holds the types of a kind: (ours, mmseg's). Kinds that are not listed have no types outside mmengine.
_LOCATIONS = {
    'DATASETS': ('mmuda.datasets', 'mmseg.datasets'),
    'DATA_SAMPLERS': ('mmuda.datasets', 'mmseg.datasets'),
    'TRANSFORMS': ('mmuda.datasets', 'mmseg.datasets'),
    'HOOKS': ('mmuda.engine', 'mmseg.engine'),
    'OPTIMIZERS': ('mmuda.engine', 'mmseg.engine'),
    'OPTIM_WRAPPERS': ('mmuda.engine', 'mmseg.engine'),
    'OPTIM_WRAPPER_CONSTRUCTORS': ('mmuda.engine', 'mmseg.engine'),
    'PARAM_SCHEDULERS': ('mmuda.engine', 'mmseg.engine'),
    'METRICS': ('mmuda.evaluation', 'mmseg.evaluation'),
    'MODELS': ('mmuda.models', 'mmseg.models'),
    'MODEL_WRAPPERS': ('mmuda.models', 'mmseg.models'),
    'VISUALIZERS': ('mmseg.visualization',),
}


def _child(name: str) -> Registry:
    parent = getattr(_mmseg_registry, name, getattr(_mmengine_registry, name))  # mmseg lacks FUNCTIONS and STRATEGIES
    return Registry(parent.name, parent=parent, scope='mmuda', locations=list(_LOCATIONS.get(name, ())))


# Every kind needs a child: a kind without one falls back to mmengine's root and misses mmseg's types.
__all__ = [name for name in dir(_mmengine_registry) if isinstance(getattr(_mmengine_registry, name), Registry)]
globals().update({name: _child(name) for name in __all__})
