"""Work beside the main thread, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar('Result')

_THREADS = 4


def in_threads(function: Callable[..., Result], calls: Iterable[tuple]) -> Iterator[Result]:
    """Call a function in threads; results come in the order of the calls.

    Args:
        function: what to call; it should spend its time outside Python (files, codecs, devices).
        calls: the arguments of each call. At most ``2 * _THREADS + 1`` calls are taken ahead of the results.

    Raises:
        Exception: the first one that a call raised.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        pending: deque[Future[Result]] = deque()
        for call in calls:
            pending.append(pool.submit(function, *call))
            if len(pending) > 2 * _THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
