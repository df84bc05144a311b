"""An infinite sampler whose draws carry their number, so that a resumed run goes on where it stopped."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple, Protocol
from zlib import crc32

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmuda.registry import DATA_SAMPLERS


class Draw(NamedTuple):
    """One draw: which item of each domain to load, and what its random choices depend on.

    Attributes:
        number: position in the run, counted over all processes.
        seed: the run's seed.
        indices: domain -> index into that domain's data set.
    """

    number: int
    seed: int
    indices: dict[str, int]


class _Sized(Protocol):
    sizes: dict[str, int]


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler):
    """Draw items of every domain for ever, each domain in its own order.

    A domain's order is a chain of laps, each a permutation of the whole data set that depends on nothing but the seed,
    the domain's name and the lap. Draw number n is therefore a pure function of n: resuming costs nothing, and the
    draws of N processes, interleaved, are those of one process.

    Args:
        dataset: has ``sizes``, domain -> number of items.
        seed: of the order; None takes a random one that all processes share.
        restart_every: after so many draws (over all processes) every domain starts a new lap, finished or not. The
            EHTDI reference restarts its two loaders every 1487 iterations of batch 2, i.e. 2974 draws: an epoch
            sees 2974 random source images (spec, section 5). None: a lap ends with its last item.
    """

    def __init__(self, dataset: _Sized, seed: int | None = None, restart_every: int | None = None) -> None:
        if restart_every is not None and restart_every < 1:
            raise ValueError(f'restart_every={restart_every}: give a number of draws above 0, or None.')
        self.rank, self.world_size = get_dist_info()
        self.sizes = dict(dataset.sizes)
        self.seed = sync_random_seed() if seed is None else seed
        self.restart_every = restart_every
        self.start = 0
        self._laps: dict[str, tuple[tuple[int, int], np.ndarray]] = {}

    def __len__(self) -> int:
        """Size of the largest domain; the draws themselves never end."""
        return max(self.sizes.values())

    def __iter__(self) -> Iterator[Draw]:
        """Yield this process's draws from the position set by :meth:`skip`."""
        for position in itertools.count(self.start):
            number = position * self.world_size + self.rank
            yield Draw(number, self.seed, {domain: self._index(domain, number) for domain in self.sizes})

    def skip(self, num_samples: int) -> None:
        """Let the next iterator start after ``num_samples`` draws of this process, counted from the run's start.

        mmengine calls this on resume; no index is generated and no item loaded.
        """
        self.start = num_samples

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: an endless stream has no epochs (mmengine calls this on every sampler)."""

    def _index(self, domain: str, number: int) -> int:
        epoch, position = divmod(number, self.restart_every) if self.restart_every else (0, number)
        lap, offset = divmod(position, self.sizes[domain])
        return int(self._lap(domain, epoch, lap)[offset])

    def _lap(self, domain: str, epoch: int, lap: int) -> np.ndarray:
        key, order = self._laps.get(domain, (None, None))
        if key != (epoch, lap):
            entropy = np.random.SeedSequence((self.seed, crc32(domain.encode()), epoch, lap))
            # RandomState: numpy promises its stream never changes
            order = np.random.RandomState(entropy.generate_state(4)).permutation(self.sizes[domain])
            self._laps[domain] = (epoch, lap), order
        return order
