"""A sheet of pictures to look at: the two domains side by side."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from .generate import make
from .labels import PALETTE
from .render import View

_MARGIN, _HEAD = 4, 16


def sheet(
    *, seed: int = 0, shifts: Sequence[str] = ('mild', 'medium'), rows: int = 4, size: Sequence[int] = (128, 256)
) -> Image.Image:
    """Draw the first scenes of a city.

    Args:
        seed: Which city.
        shifts: Levels of the target to show; a level has its own layout too, so label and depth are those of the last.
        rows: Number of scenes.
        size: (height, width) of one picture.

    Returns:
        RGB picture; columns: source, its label, the target at each level, label and depth of the last.
    """
    heads = ['source', 'source label', *(f'target, {shift}' for shift in shifts), 'target label', 'target depth']
    height, width = size
    page = Image.new('RGB', (len(heads) * (width + _MARGIN), _HEAD + rows * (height + _MARGIN)), 'white')
    for column, head in enumerate(heads):
        ImageDraw.Draw(page).text((column * (width + _MARGIN) + 2, 2), head, 'black')
    for row in range(rows):
        source = make('source', row, seed=seed, size=size)
        targets = [make('train', row, seed=seed, shift=shift, size=size) for shift in shifts]
        images = [
            source.image,
            _label(source),
            *(view.image for view in targets),
            _label(targets[-1]),
            _depth(targets[-1]),
        ]
        for column, image in enumerate(images):
            page.paste(Image.fromarray(image), (column * (width + _MARGIN), _HEAD + row * (height + _MARGIN)))
    return page


def encode(page: Image.Image) -> bytes:
    """The page as a small PNG of 256 colours, those of the labels among them."""
    labels = np.unique(PALETTE, axis=0)
    others = 256 - len(labels)
    palette = Image.new('P', (1, 1))
    palette.putpalette(page.quantize(others, kmeans=1).getpalette()[: 3 * others] + labels.ravel().tolist())
    buffer = BytesIO()
    page.quantize(palette=palette, dither=Image.Dither.NONE).save(buffer, 'png', optimize=True)
    return buffer.getvalue()


def _label(view: View) -> np.ndarray:
    return PALETTE[view.label]


def _depth(view: View) -> np.ndarray:
    """Near is bright; the sky is black."""
    shade = np.clip(255 * 6 / (view.depth + 4), 0, 255).astype(np.uint8)
    return np.repeat(shade[..., None], 3, 2)
