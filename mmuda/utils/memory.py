"""How much memory a run takes."""

import gc
import resource
from pathlib import Path

import torch

_PEAK = Path('/proc/self/clear_refs')  # Linux: 5 lets the kernel count a process's peak anew


def peak_memory() -> float:
    """GB that this process had at most since its start or the last reset, on the device if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def reset_peak_memory() -> None:
    """Let :func:`peak_memory` count from here on; of the host's memory only Linux forgets."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif _PEAK.exists():
        _PEAK.write_text('5')


def free_memory() -> None:
    """Give back what nothing refers to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
