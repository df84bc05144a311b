from .checkpoint import SafeCheckpointHook
from .finite_loss import FiniteLossHook
from .iteration_seed import IterationSeedHook
from .rank_statistics import RankStatisticsHook
from .runtime_info import DeferredInfoHook

__all__ = ['DeferredInfoHook', 'FiniteLossHook', 'IterationSeedHook', 'RankStatisticsHook', 'SafeCheckpointHook']
