"""How far a long loop is, and how long it will take."""

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from mmengine.dist import is_main_process
from mmengine.logging import print_log

Item = TypeVar('Item')

_SECONDS = 20  # between two lines


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Pass items on and log, in the main process, how many are done, at what rate, and the time left.

    Args:
        items: the loop's items.
        total: how many there will be in this process.
        what: the loop's name in the log.
    """
    began = said = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if is_main_process() and (now - said > _SECONDS or number == total):
            said, rate = now, number / (now - began)
            left = timedelta(seconds=round((total - number) / rate))
            print_log(f'{what}: {number}/{total}, {rate:.3g} per second, {left} left', logger='current')
