from .checkpoint import SafeCheckpointHook
from .finite_loss import FiniteLossHook
from .iteration_seed import IterationSeedHook

__all__ = ['FiniteLossHook', 'IterationSeedHook', 'SafeCheckpointHook']
