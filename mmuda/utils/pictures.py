"""Pictures for people: label maps in colour, maps as heat, sheets with titles and a legend."""

from collections.abc import Mapping, Sequence
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

_WIDTH = 2100  # pixels that the pictures of a sheet may take together
_NARROWEST = 200  # a legend needs
_GAP = 6  # pixels between two pictures
_HIGHEST = 256  # pixels of a picture
_LINE = 24  # a line of text is so many pixels high
_FONT = dict(fontFace=cv2.FONT_HERSHEY_SIMPLEX, fontScale=0.5, thickness=1)
_WHITE, _RED = 255, (0, 0, 255)


def colour_table(palette: Sequence[Sequence[int]]) -> np.ndarray:
    """The colours of all ids, RGB uint8 (256, 3); black where an id has no colour (255 = ignore)."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table


def colour_labels(label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colour a map of train ids (H, W): BGR uint8 (H, W, 3), black where an id has no colour (255 = ignore)."""
    return colour_table(palette)[:, ::-1][label]


def overlay(image: np.ndarray, label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Blend an image (H, W, 3), BGR uint8, half and half with the colours of its label map (H, W)."""
    return cv2.addWeighted(image, 0.5, colour_labels(label, palette), 0.5, 0)


def mistakes(image: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mark where a prediction (H, W) is wrong: red on the pale image (H, W, 3), black where the truth is ignored."""
    picture = cv2.cvtColor(128 + cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) // 2, cv2.COLOR_GRAY2BGR)
    picture[predicted != truth] = _RED
    picture[truth == 255] = 0
    return picture


def encode(picture: np.ndarray) -> bytes:
    """A picture, BGR uint8 (H, W, 3) or grey (H, W) of 8 or 16 bits, as PNG."""
    return cv2.imencode('.png', picture)[1].tobytes()


def encode_palette(label: np.ndarray, palette: Sequence[Sequence[int]]) -> bytes:
    """A map of train ids (H, W) uint8 as palette PNG: the ids are kept, and viewers show the colours."""
    picture, buffer = Image.fromarray(label), BytesIO()
    picture.putpalette(colour_table(palette).tobytes())
    picture.save(buffer, 'png')
    return buffer.getvalue()


def heat(values: np.ndarray) -> np.ndarray:
    """Colour a map of values in [0, 1] (H, W): BGR uint8 (H, W, 3), from dark blue to yellow."""
    return cv2.applyColorMap((255 * values.clip(0, 1)).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)


def draw(array: np.ndarray, palette: Sequence[Sequence[int]], height: int) -> np.ndarray:
    """Draw an array as what its type says, ``height`` pixels high.

    ==================  =================================================================
    (H, W, 3) uint8     picture, BGR
    (H, W) integer      label map in the colours of ``palette``, other ids black
    (H, W) bool         mask, white where set; a line of one pixel survives being shrunk
    (H, W) float        map of values in [0, 1], from dark blue to yellow
    ==================  =================================================================

    Returns:
        BGR uint8 (height, width, 3).
    """
    size = (max(1, round(height * array.shape[1] / array.shape[0])), height)
    shrinks = height < array.shape[0]
    smooth, sharp = (cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), cv2.INTER_NEAREST
    if array.ndim == 3:
        return cv2.resize(array, size, interpolation=smooth)
    if array.dtype == bool:
        share = cv2.resize(array.astype(np.float32), size, interpolation=smooth if shrinks else sharp)
        return cv2.cvtColor(_WHITE * (share > 0).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    if _is_map(array):
        return heat(cv2.resize(array.astype(np.float32), size, interpolation=smooth))
    return colour_labels(cv2.resize(array.astype(np.uint8), size, interpolation=sharp), palette)


def sheet(rows: Sequence[Mapping[str, np.ndarray]], meta: Mapping, height: int) -> np.ndarray:
    """Lay out arrays under their titles, with a legend of what the colours mean.

    Columns that do not fit beside each other go on in a further line, below all rows. Where there is room the pictures
    are higher than asked for.

    Args:
        rows: Title -> array, see :func:`draw`; the same titles in every row.
        meta: ``classes`` (names) and ``palette`` (RGB) of the label maps: a data set's ``metainfo``.
        height: Pixels that a picture has at least.

    Returns:
        BGR uint8 (H, W, 3), some 2000 pixels wide at most unless a single picture is wider.
    """
    shapes = [array.shape[1] / array.shape[0] for array in rows[0].values()]
    lines = _lines([round(height * shape) for shape in shapes], _WIDTH)
    fitting = min((_WIDTH - _GAP * len(line)) / sum(shapes[column] for column in line) for line in lines)
    height = min(max(height, int(fitting)), _HIGHEST)
    drawn = [[draw(array, meta['palette'], height) for array in row.values()] for row in rows]
    widths = [max(picture.shape[1] for picture in column) for column in zip(*drawn, strict=True)]
    page_width = max(_NARROWEST, *(sum(widths[column] + _GAP for column in line) - _GAP for line in lines))
    blocks = []
    for line in lines:
        block = np.full((_LINE + len(rows) * (height + _GAP), page_width, 3), _WHITE, np.uint8)
        left = 0
        for column in line:
            _write(block, _shortened(list(rows[0])[column], widths[column]), left)
            for number, row in enumerate(drawn):
                top = _LINE + number * (height + _GAP)
                block[top : top + height, left : left + row[column].shape[1]] = row[column]
            left += widths[column] + _GAP
        blocks.append(block)
    page = np.vstack([*blocks, *_legend(list(rows[0].values()), meta, page_width)])
    return np.pad(page, ((0, _GAP), (_GAP, _GAP), (0, 0)), constant_values=_WHITE)


def _lines(widths: Sequence[int], limit: int) -> list[list[int]]:
    """Break columns into as few lines as ``limit`` allows, and these as equally long as can be."""
    lines, length = [[]], 0
    for column, width in enumerate(widths):
        if lines[-1] and length + width > limit:
            lines.append([])
            length = 0
        lines[-1].append(column)
        length += width + _GAP
    longest = max(sum(widths[column] + _GAP for column in line) for line in lines) - _GAP
    if longest == max(widths):
        return lines
    tighter = _lines(widths, longest - 1)
    return tighter if len(tighter) == len(lines) else lines


def _legend(arrays: Sequence[np.ndarray], meta: Mapping, width: int) -> list[np.ndarray]:
    """Lines of text, each (h, width, 3), that explain the label maps and the maps of values among ``arrays``."""
    maps = [array for array in arrays if array.ndim == 2]
    entries = []
    if any(array.dtype != bool and not _is_map(array) for array in maps):
        names = [*zip(meta['classes'], meta['palette'], strict=True), ('ignored', (0, 0, 0))]
        entries += [(name, np.full((12, 20, 3), colour[::-1], np.uint8)) for name, colour in names]
    if any(_is_map(array) for array in maps):
        entries.append(('0 to 1', heat(np.tile(np.linspace(0, 1, 100, dtype=np.float32), (12, 1)))))
    widths = [swatch.shape[1] + 6 + _text_width(name) + 12 for name, swatch in entries]
    blocks = []
    for line in _lines(widths, width) if entries else []:
        block, left = np.full((_LINE, width, 3), _WHITE, np.uint8), 0
        for number in line:
            name, swatch = entries[number]
            block[6:18, left : left + swatch.shape[1]] = swatch
            _write(block, name, left + swatch.shape[1] + 6)
            left += widths[number] + _GAP
        blocks.append(block)
    return blocks


def _is_map(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.floating)


def _write(block: np.ndarray, text: str, left: int) -> None:
    """Write into the first line of a block, in place."""
    cv2.putText(block, text, (left, _LINE - 8), color=(0, 0, 0), lineType=cv2.LINE_AA, **_FONT)


def _text_width(text: str) -> int:
    return cv2.getTextSize(text, **_FONT)[0][0]


def _shortened(text: str, width: int) -> str:
    """The text, cut to what fits into ``width`` pixels."""
    if _text_width(text) <= width:
        return text
    while text and _text_width(f'{text}..') > width:
        text = text[:-1]
    return f'{text}..'
