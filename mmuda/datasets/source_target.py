"""One training item from both domains."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from mmuda.datasets.samplers import Draw
from mmuda.registry import DATASETS


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed the global generators of python, numpy and torch (CPU) from some integers, and put them back at the end."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence(entropy).generate_state(4)
    random.seed(words.tobytes())
    np.random.seed(words)
    torch.default_generator.manual_seed(int(words[0]))  # torch.manual_seed would reseed the GPUs, too
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@DATASETS.register_module()
class SourceTargetDataset(Dataset):
    """Pairs of a source and a target item: ``{'source': item, 'target': item}``.

    An item is a pure function of its :class:`Draw`: its transforms see generators seeded from the run's seed, the
    draw's number and the domain, whatever the number of loader workers and processes and whenever the run was resumed
    (STACK 2.4). Use it with :class:`DrawSampler` and ``collate_fn=dict(type='default_collate')``.

    Args:
        source: data set or its config; None leaves the domain out of the items.
        target: likewise.

    Raises:
        ValueError: neither domain is given, or their class sets differ.
    """

    def __init__(self, source: dict | BaseDataset | None = None, target: dict | BaseDataset | None = None) -> None:
        given = {'source': source, 'target': target}
        self.domains: dict[str, BaseDataset] = {
            domain: DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
            for domain, dataset in given.items()
            if dataset is not None
        }
        if not self.domains:
            raise ValueError('SourceTargetDataset needs a source, a target or both.')
        classes = {domain: dataset.metainfo['classes'] for domain, dataset in self.domains.items()}
        if len(set(classes.values())) > 1:
            counts = ', '.join(f'{domain}: {len(names)}' for domain, names in classes.items())
            raise ValueError(f'The domains have different class sets ({counts}): give both the same classes=.')

    @property
    def sizes(self) -> dict[str, int]:
        """Number of items of each domain."""
        return {domain: len(dataset) for domain, dataset in self.domains.items()}

    @property
    def metainfo(self) -> dict:
        """Classes and palette, which the domains share."""
        return next(iter(self.domains.values())).metainfo

    def __len__(self) -> int:
        return max(self.sizes.values())

    def __getitem__(self, draw: Draw | int) -> dict[str, dict]:
        """Load the items of a draw; a plain number browses: the same draw of seed 0 every time."""
        if not isinstance(draw, Draw):
            draw = Draw(draw, 0, {domain: draw % size for domain, size in self.sizes.items()})
        return {domain: self._load(domain, draw) for domain in self.domains}

    def _load(self, domain: str, draw: Draw) -> dict:
        with seeded(draw.seed, draw.number, crc32(domain.encode())):
            return self.domains[domain][draw.indices[domain]]
