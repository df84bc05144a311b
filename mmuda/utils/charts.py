"""Charts of numbers, drawn by Matplotlib without a display; pictures of images are in ``pictures.py``."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

_DPI = 110
_COLUMNS = 3  # panels beside each other
_PALE = '#d9d9d9'


def png(figure: Figure) -> bytes:
    """A chart as PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format='png', dpi=_DPI)
    return buffer.getvalue()


def curves(runs: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Figure:
    """A panel for each quantity, with a line for each run that has it.

    Args:
        runs: Name -> quantity -> iteration -> value.
    """
    titles = list(dict.fromkeys(title for quantities in runs.values() for title in quantities))
    columns = min(_COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(4.6 * columns, 2.9 * rows + 0.5), layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(titles) :]:
        panel.set_axis_off()
    lines = {}
    for title, panel in zip(titles, panels, strict=False):
        for (name, quantities), colour in zip(runs.items(), _colours(len(runs)), strict=True):
            if points := quantities.get(title):
                steps, values = zip(*sorted(points.items()), strict=True)
                (lines[name],) = panel.plot(steps, values, color=colour, marker='o', markersize=3, linewidth=1.4)
        panel.set_title(title, fontsize=10)
        panel.margins(x=0.03)
        panel.grid(color=_PALE, linewidth=0.6)
        panel.tick_params(labelsize=8)
        panel.set_xlabel('iteration', fontsize=8)
        _open(panel)
    figure.legend(lines.values(), lines, loc='outside upper center', ncols=min(len(runs), 6), frameon=False)
    return figure


def bars(runs: Mapping[str, Mapping[str, float]], unit: str) -> Figure:
    """A group of bars for each quantity, a bar for each run; a value that is nan has none.

    Args:
        runs: Name -> quantity -> value; the same quantities for all. The first one stands apart, as a mean does.
        unit: Of the values.
    """
    titles, count = list(next(iter(runs.values()))), len(runs)
    figure = Figure(figsize=(max(7.0, len(titles) * (0.16 * count + 0.2)), 4.6), layout='constrained')
    panel = figure.subplots()
    width = 0.84 / count
    for number, ((name, values), colour) in enumerate(zip(runs.items(), _colours(count), strict=True)):
        places = np.arange(len(titles)) + (number - (count - 1) / 2) * width
        drawn = panel.bar(places, [values[title] for title in titles], 0.94 * width, color=colour, label=name)
        panel.bar_label(drawn, fmt='%.0f', fontsize=6, padding=1)
    panel.axvline(0.5, color='black', linewidth=0.8)
    panel.set_xticks(range(len(titles)), titles, rotation=35, ha='right', rotation_mode='anchor', fontsize=9)
    panel.set_xlim(-0.5, len(titles) - 0.5)
    panel.tick_params(axis='y', labelsize=8)
    panel.tick_params(axis='x', length=0)
    panel.set_ylabel(unit)
    panel.grid(axis='y', color=_PALE, linewidth=0.6)
    panel.set_axisbelow(True)
    _open(panel)
    figure.legend(loc='outside upper center', ncols=min(count, 6), frameon=False)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Of each true class's pixels, the percentages that are taken for each class.

    Args:
        matrix: Pixels (C, C); rows are the truth. A class without any has a row of dashes.
        classes: Names.
    """
    count = len(classes)
    with np.errstate(invalid='ignore'):
        share = 100 * matrix / matrix.sum(1, keepdims=True)
    side = 0.43 * count + 1.6
    figure = Figure(figsize=(side + 0.6, side), layout='constrained')
    panel = figure.subplots()
    colours = colormaps['Blues'].with_extremes(bad='#f0f0f0')
    # the square root: a share of 5 % is no white
    shown = panel.imshow(share, cmap=colours, norm=PowerNorm(0.5, 0, 100))
    for (true, taken), value in np.ndenumerate(share):
        text = '-' if math.isnan(value) else f'{value:.1f}' if value >= 0.05 else '0'
        colour = 'white' if value > 35 else _PALE if text in '-0' else 'black'
        panel.text(taken, true, text, ha='center', va='center', fontsize=7, color=colour)
    panel.set_xticks(range(count), classes, rotation=45, ha='left', rotation_mode='anchor')
    panel.set_yticks(range(count), classes)
    panel.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0, labelsize=9)
    panel.set_xlabel('predicted', fontsize=10)
    panel.set_ylabel('true', fontsize=10)
    panel.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    panel.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    panel.grid(which='minor', color='white', linewidth=0.8)
    panel.tick_params(which='minor', length=0)
    panel.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=panel, fraction=0.03, pad=0.02, ticks=[0, 5, 20, 50, 100])
    bar.set_label("% of the true class's pixels", fontsize=9)
    bar.outline.set_visible(False)
    return figure


def clusters(panels: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """A panel of points for each title, side by side.

    Args:
        panels: Title -> group -> places (n, 2); the same groups for all.
    """
    figure = Figure(figsize=(4.4 * len(panels), 4.9), layout='constrained')
    for panel, (title, groups) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (name, places), colour in zip(groups.items(), _colours(len(groups)), strict=True):
            panel.scatter(*places.T, s=9, color=colour, label=name, linewidths=0, alpha=0.8)
        panel.set_title(title, fontsize=11)
        panel.set_xticks([])
        panel.set_yticks([])
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc='outside upper center', ncols=len(names), frameon=False, markerscale=2)
    return figure


def _colours(count: int) -> list[tuple[float, ...]]:
    """Colours that are told apart."""
    if count <= 10:
        return list(colormaps['tab10'].colors[:count])
    return [colormaps['turbo'](number / (count - 1)) for number in range(count)]


def _open(panel: Axes) -> None:
    panel.spines[['top', 'right']].set_visible(False)
