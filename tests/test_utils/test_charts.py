"""Charts hold the numbers that they are given."""

import math
from io import BytesIO
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from mmuda.utils import charts


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_have_a_panel_for_each_quantity_and_a_colour_for_each_run() -> None:
    one = {'mIoU': {200: 40.0, 100: 30.0}, 'loss': {50: 2.0, 100: 1.5}}
    two = {'mIoU': {100: 35.0}, 'loss_adv': {50: 0.1}}
    figure = charts.curves({'one': one, 'two': two})
    panels = {panel.get_title(): panel.lines for panel in figure.axes if panel.lines}
    assert {title: len(lines) for title, lines in panels.items()} == {'mIoU': 2, 'loss': 1, 'loss_adv': 1}
    assert panels['mIoU'][0].get_xydata().tolist() == [[100, 30], [200, 40]]
    first, second = (line.get_color() for line in panels['mIoU'])
    assert (panels['loss'][0].get_color(), panels['loss_adv'][0].get_color()) == (first, second)
    assert first != second
    assert legend(figure) == ['one', 'two']


def test_more_runs_than_plain_colours_still_differ() -> None:
    figure = charts.curves({str(number): {'loss': {1: number}} for number in range(12)})
    assert len({line.get_color() for line in figure.axes[0].lines}) == 12


def test_bars_are_the_values_and_nan_has_none() -> None:
    figure = charts.bars({'one': {'mIoU': 40.6, 'car': 70.0}, 'two': {'mIoU': 50.0, 'car': math.nan}}, 'percent')
    panel = figure.axes[0]
    heights = [[bar.get_height() for bar in group] for group in panel.containers]
    assert heights[0] == [40.6, 70.0]
    assert heights[1][0] == 50
    assert math.isnan(heights[1][1])
    assert texts(figure) == ['41', '70', '50', '']
    assert [label.get_text() for label in panel.get_xticklabels()] == ['mIoU', 'car']
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for group in panel.containers for bar in group)
    assert all(left[1] <= right[0] for left, right in pairwise(edges))  # none hides another


def test_confusion_is_in_percent_of_the_true_class() -> None:
    matrix = np.array([[30, 10, 0], [0, 0, 0], [1, 0, 9999]])
    figure = charts.confusion(matrix, ['road', 'wall', 'sky'])
    assert texts(figure) == ['75.0', '25.0', '0', '-', '-', '-', '0', '0', '100.0']
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    columns = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert rows == columns == ['road', 'wall', 'sky']
    colours = figure.axes[0].images[0]
    dark, light = (sum(colours.cmap(colours.norm(share))[:3]) for share in (75, 25))
    assert dark < light


def test_clusters_have_a_panel_for_each_title() -> None:
    places = np.arange(8.0).reshape(4, 2)
    figure = charts.clusters({name: {'source': places, 'target': places + 1} for name in ('a', 'b')})
    assert [panel.get_title() for panel in figure.axes] == ['a', 'b']
    assert figure.axes[1].collections[1].get_offsets().tolist() == (places + 1).tolist()
    assert legend(figure) == ['source', 'target']
    picture = Image.open(BytesIO(charts.png(figure)))
    assert picture.format == 'PNG'
    assert picture.width > 1.5 * picture.height
