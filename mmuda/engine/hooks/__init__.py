from .checkpoint import SafeCheckpointHook
from .finite_loss import FiniteLossHook
from .iteration_seed import IterationSeedHook
from .label_firewall import LabelFirewallHook
from .pictures import PictureHook
from .rank_statistics import RankStatisticsHook
from .runtime_info import DeferredInfoHook

__all__ = [
    'DeferredInfoHook',
    'FiniteLossHook',
    'IterationSeedHook',
    'LabelFirewallHook',
    'PictureHook',
    'RankStatisticsHook',
    'SafeCheckpointHook',
]
