"""Source-free for real: a stage that opens a file it must not know ends with an error."""

import functools
import multiprocessing
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmuda.registry import HOOKS

_IMAGES = ('.png', '.jpg', '.jpeg')
_standing: weakref.WeakSet['LabelFirewallHook'] = weakref.WeakSet()


def _audit(event: str, args: tuple) -> None:
    if event == 'open' and isinstance(args[0], (str, bytes, os.PathLike)):
        for firewall in list(_standing):
            firewall.see(os.fsdecode(args[0]))


@functools.cache
def _listen() -> None:
    sys.addaudithook(_audit)  # once: it cannot be taken back


@HOOKS.register_module()
class LabelFirewallHook(Hook):
    """Makes opening a file in a forbidden folder an error, and says at the end how many were opened: none.

    It listens to Python's audit events, so it sees every file that is opened, by whatever reader: in the main process,
    in loader workers (which are forked from it) and on all ranks. The folders need not exist.

    Args:
        forbid: Name for the report -> folders, e.g. ``dict(source=['data/GTA5'], target_labels=['.../gtFine/train'])``.

    Raises:
        PermissionError: In whoever opens such a file.
    """

    def __init__(self, forbid: Mapping[str, Sequence[str]]) -> None:
        self.folders = {name: [os.path.realpath(folder) + os.sep for folder in given] for name, given in forbid.items()}
        # Shared with the workers: one counter per name, and one of the other images.
        self.opened = multiprocessing.get_context('fork').Array('q', len(self.folders) + 1)
        _listen()
        _standing.add(self)

    def see(self, path: str) -> None:
        """Count a file that is about to be opened; refuse a forbidden one."""
        real = os.path.realpath(path)
        for index, (name, folders) in enumerate(self.folders.items()):
            if real.startswith(tuple(folders)):
                self._count(index)
                raise PermissionError(
                    f'{path} belongs to the {name.replace("_", " ")}, which this stage must not read '
                    '(custom_hooks: mmuda.LabelFirewallHook)'
                )
        if Path(real).suffix.lower() in _IMAGES:
            self._count(len(self.folders))

    def after_run(self, runner: Runner) -> None:
        """Report and stand down."""
        self.stand_down()

    def stand_down(self) -> None:
        """Say what was opened, by all processes and their workers, and stop listening."""
        counts = torch.tensor(list(self.opened))
        all_reduce(counts)
        *forbidden, others = counts.tolist()
        names = (name.replace('_', ' ') for name in self.folders)
        report = ', '.join(f'{count} of the {name}' for name, count in zip(names, forbidden, strict=True))
        print_log(f'label firewall: opened {report}; {others} other images', logger='current')
        _standing.discard(self)

    def _count(self, index: int) -> None:
        with self.opened.get_lock():
            self.opened[index] += 1


@contextmanager
def firewalls(cfg: Config) -> Iterator[None]:
    """The firewalls among a config's ``custom_hooks``, for work with it that is no training."""
    hooks = [HOOKS.build(hook) for hook in cfg.get('custom_hooks', ()) if hook.type == 'mmuda.LabelFirewallHook']
    try:
        yield
    finally:
        for hook in hooks:
            hook.stand_down()
