"""Source-free for real: a stage that opens a file it must not know ends with an error."""

import functools
import multiprocessing
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmuda.datasets.layout import candidate_roots, join
from mmuda.registry import DATASETS, HOOKS

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
    in loader workers (which are forked from it) and on all ranks. The folders need not exist. One of a data set
    stands for all in which the data set's class would look for its files: ``data/cityscapes/gtFine/train`` also for
    ``data/Cityscapes/gtFine_trainvaltest/gtFine/train``.

    Args:
        forbid: Name for the report -> folders, e.g. ``dict(source=['data/GTA5'], target_labels=['.../gtFine/train'])``.

    Raises:
        PermissionError: In whoever opens such a file.
    """

    def __init__(self, forbid: Mapping[str, Sequence[str]]) -> None:
        self.folders = {
            name: tuple(os.path.realpath(place) + os.sep for folder in given for place in places(folder))
            for name, given in forbid.items()
        }
        # Shared with the workers: one counter per name, and one of the other images.
        self.opened = multiprocessing.get_context('fork').Array('q', len(self.folders) + 1)
        _listen()
        _standing.add(self)

    def see(self, path: str) -> None:
        """Count a file that is about to be opened; refuse a forbidden one."""
        real = os.path.realpath(path)
        for index, (name, folders) in enumerate(self.folders.items()):
            if real.startswith(folders):
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


def places(folder: str) -> set[str]:
    """A folder, and if it is a data set's, or lies in one, those in which the data set's class looks for the same."""
    found = {folder}
    for dataset in DATASETS.module_dict.values():
        for home in getattr(dataset, 'folders', ()):
            root, hit, inner = f'{folder}/'.rpartition(f'/{home}/')
            if hit:
                kinds = [kind for kind in dataset.label_dirs if inner.startswith(f'{kind}/')]
                inners = {inner, *(other + inner.removeprefix(kind) for kind in kinds for other in dataset.label_dirs)}
                homes = (*dataset.folders, '') if inner else dataset.folders
                found |= {join(*place) for place in product(candidate_roots(root), homes, inners)}
    return found


@contextmanager
def firewalls(cfg: Config) -> Iterator[None]:
    """The firewalls among a config's ``custom_hooks``, for work with it that is no training."""
    hooks = [HOOKS.build(hook) for hook in cfg.get('custom_hooks', ()) if hook.type == 'mmuda.LabelFirewallHook']
    try:
        yield
    finally:
        for hook in hooks:
            hook.stand_down()
