"""How speed is measured: both sides in one process and in turns, by the processor time that each takes on one thread.

On a shared machine wall time and single runs say little; the ratio of two neighbouring measurements does.
"""

import ctypes
import datetime
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

import torch

TURN = 100  # milliseconds
SPREAD = 0.1  # a row whose quartiles lie further apart, as a share of the median, shows nothing


@dataclass
class Row:
    """One line of a table: two ways to the same result.

    Attributes:
        name: What is done.
        first: Milliseconds or MB per call, round by round.
        second: Those of the other way.
        at_least: Goal of first / second.
        at_most: Goal of first / second.
        note: Whatever else the reader should know, e.g. how far the results agree.
    """

    name: str
    first: list[float]
    second: list[float]
    at_least: float | None = None
    at_most: float | None = None
    note: str = ''

    def cells(self) -> list[str]:
        """The line, cell by cell."""
        ratios = [a / b for a, b in zip(self.first, self.second, strict=True)]
        ratio = median(ratios)
        low, _, high = quantiles(ratios, n=4, method='inclusive') if len(ratios) > 1 else 3 * [ratio]
        spread = (high - low) / ratio
        if self.at_least is not None:
            goal, reached = f'>= {self.at_least:g}', ratio >= self.at_least
        elif self.at_most is not None:
            goal, reached = f'<= {self.at_most:g}', ratio <= self.at_most
        else:
            goal, reached = '', None
        verdict = 'void' if spread > SPREAD else {None: '', True: 'reached', False: 'missed'}[reached]
        numbers = [f'{median(self.first):.4g}', f'{median(self.second):.4g}', f'{ratio:.3g}', f'{100 * spread:.1f} %']
        return [self.name, *numbers, goal, verdict, self.note]


def alternate(*functions: Callable[[], object], rounds: int) -> list[list[float]]:
    """Call functions in turns; milliseconds per call, round by round.

    A turn lasts :data:`TURN` or one call, and a round five turns, or fewer where a call takes longer than two: whatever
    else the machine is doing meanwhile meets all of them.
    """
    lasts = []
    for function in functions:
        function()  # the first call pays for memory and caches
        lasts.append(_milliseconds(function))
    counts = [max(1, round(TURN / last)) for last in lasts]
    turns = max(1, min(5, round(10 * TURN / max(lasts))))
    taken: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        sums = [0.0] * len(functions)
        for _ in range(turns):
            for number, function in enumerate(functions):
                sums[number] += _milliseconds(function, counts[number])
        for times, total in zip(taken, sums, strict=True):
            times.append(total / turns)
    return taken


def _milliseconds(function: Callable[[], object], count: int = 1) -> float:
    began = time.process_time()
    for _ in range(count):
        function()
    return max(1e3 * (time.process_time() - began) / count, 1e-3)


def peak_memory(function: Callable[[], object]) -> float:
    """MB by which a call raises the peak of a process of its own."""
    context = get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peak, args=(function, sender))
    process.start()
    sender.close()
    peak = receiver.recv()  # EOFError if the process ended without
    process.join()
    return peak


def _send_peak(function: Callable[[], object], sender: Connection) -> None:
    ctypes.CDLL(None).malloc_trim(0)  # what was freed earlier would be used again, unseen
    Path('/proc/self/clear_refs').write_text('5')  # the peak so far was the parent's
    before = _peak()
    function()
    sender.send((_peak() - before) / 2**10)


def _peak() -> int:
    """KB of this process's largest resident set."""
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])


def cpu_fact(name: str) -> str:
    """An entry of Linux's list of what the processor is and can do; '' where there is none."""
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').is_file() else []
    return next((line.partition(': ')[2] for line in lines if line.startswith(name)), '')


def has_bf16() -> bool:
    """Whether the processor multiplies in bf16."""
    return bool({'avx512_bf16', 'amx_bf16'} & set(cpu_fact('flags').split()))


def facts() -> str:
    """The machine in words."""
    cpu = f'{cpu_fact("model name") or platform.processor()}, {"with" if has_bf16() else "without"} bf16 instructions'
    gpu = f'; {torch.cuda.get_device_name()}' if torch.cuda.is_available() else ''
    return f'{datetime.date.today()}; {cpu}; threads {torch.get_num_threads()}{gpu}; torch {torch.__version__}'


def markdown(heading: str, *lines: Sequence[str]) -> str:
    """A table whose first line is its head."""
    rows = [lines[0], ['---'] * len(lines[0]), *lines[1:]]
    return '\n'.join([heading, '', *(f'| {" | ".join(row)} |' for row in rows)])


def table(heading: str, first: str, second: str, rows: list[Row]) -> str:
    """The rows; ``first`` and ``second`` name the two ways and their unit."""
    head = ['', first, second, 'ratio', 'quartiles', 'goal', '', '']
    return markdown(heading, head, *(row.cells() for row in rows))


def report(kind: str, folder: Path, *paragraphs: str) -> None:
    """Print the paragraphs and what was measured on, and keep them in ``<folder>/<kind>.txt``."""
    text = '\n\n'.join([*paragraphs, facts()])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{kind}.txt').write_text(f'{text}\n')
    print(text)
