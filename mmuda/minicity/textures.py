"""Texture tiles: small periodic RGB factors, one set in the manner of a game, one in the manner of a camera.

A colour times its factor is what a pixel shows.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

TILE = 64
_ROW, _COL = np.mgrid[:TILE, :TILE]

# name: metres that one tile spans
SPAN = {
    'flat': 8.0,
    'asphalt': 6.0,
    'slabs': 4.0,
    'brick': 3.0,
    'windows': 6.4,
    'plain facade': 9.0,
    'foliage': 4.0,
    'grass': 3.0,
    'bars': 1.6,
    'panels': 2.0,
    'cloth': 0.6,
    'clouds': 900.0,
}
TEXTURE = {name: index for index, name in enumerate(SPAN)}


def _grain(rng: np.random.Generator, cells: int, amplitude: float, smooth: bool) -> np.ndarray:
    """Periodic noise around one: square cells, or the same rounded off."""
    size = TILE // cells
    noise = np.kron(rng.random((cells, cells)) * 2 - 1, np.ones((size, size)))
    for _ in range(size // 2 if smooth else 0):
        noise = (
            2 * noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, -1, 0) + np.roll(noise, -1, 1)
        ) / 6
    return 1 + amplitude * noise


def _lines(period: int, width: int, value: float, coordinate: np.ndarray) -> np.ndarray:
    return np.where(coordinate % period < width, value, 1.0)


def _masonry(rows: int, columns: int, value: float) -> np.ndarray:
    shifted = _COL + (_ROW // rows % 2) * (columns // 2)
    return np.minimum(_lines(rows, 1, value, _ROW), _lines(columns, 1, value, shifted))


def _panes(
    rows: int, columns: int, height: int, width: int, tint: tuple[float, float, float], frame: float
) -> np.ndarray:
    """A regular facade of window panes with frames, as RGB factors."""
    r, c = _ROW % rows, _COL % columns
    outer = (r < height + 2) & (c < width + 2)
    inner = (r >= 1) & (r < height + 1) & (c >= 1) & (c < width + 1)
    wall = np.where(outer, frame, 1.0)[..., None]
    return np.where(inner[..., None], np.array(tint), wall)


def _game(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        'asphalt': _grain(rng, 32, 0.06, False),
        'slabs': _masonry(16, 16, 0.72) * _grain(rng, 4, 0.05, False),
        'brick': _masonry(8, 16, 0.6) * _grain(rng, 16, 0.12, False),
        'windows': _panes(32, 32, 15, 17, (0.45, 0.6, 0.85), 1.3),
        'plain facade': _panes(16, 64, 7, 58, (0.4, 0.55, 0.7), 0.85),
        'foliage': _grain(rng, 16, 0.45, False) * _grain(rng, 8, 0.2, False),
        'grass': _grain(rng, 32, 0.16, False),
        'bars': _lines(8, 4, 0.45, _COL) * _lines(32, 3, 0.7, _ROW),
        'panels': _lines(16, 2, 0.75, _COL),
        'cloth': _grain(rng, 8, 0.1, False),
        'clouds': _grain(rng, 8, 0.03, True),
    }


def _photo(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        'asphalt': _grain(rng, 4, 0.22, True) * _grain(rng, 64, 0.12, False),
        'slabs': _grain(rng, 16, 0.2, False) * _masonry(8, 16, 0.85) * _grain(rng, 4, 0.2, True),
        'brick': _grain(rng, 8, 0.3, True) * _grain(rng, 64, 0.12, False) * _lines(32, 2, 0.8, _ROW),
        'windows': _panes(32, 20, 20, 9, (0.5, 0.52, 0.54), 1.12) * _grain(rng, 8, 0.2, True)[..., None],
        'plain facade': _panes(21, 16, 10, 9, (0.62, 0.62, 0.62), 0.9) * _grain(rng, 4, 0.3, True)[..., None],
        'foliage': _grain(rng, 32, 0.6, True) * _grain(rng, 64, 0.35, False),
        'grass': _grain(rng, 8, 0.3, True) * _grain(rng, 64, 0.2, False),
        'bars': _lines(8, 2, 0.55, _COL + _ROW) * _lines(8, 2, 0.55, _COL - _ROW),
        'panels': _lines(32, 2, 0.85, _ROW) * _grain(rng, 8, 0.12, True),
        'cloth': _grain(rng, 8, 0.3, True),
        'clouds': _grain(rng, 4, 0.12, True),
    }


def _stack(make: Callable[[np.random.Generator], dict[str, np.ndarray]], seed: int) -> np.ndarray:
    tiles = make(np.random.default_rng(seed))
    stack = np.ones((len(SPAN), TILE, TILE, 3))
    for name, tile in tiles.items():
        stack[TEXTURE[name]] = tile if tile.ndim == 3 else tile[..., None]
    return stack


@lru_cache(maxsize=8)
def atlas(share: float) -> np.ndarray:
    """All tiles at a point between the game's (0) and the camera's (1).

    Returns:
        (3, textures * TILE * TILE) float32 RGB, the factor less one; index = (texture * TILE + row) * TILE + column.
    """
    mixed = (1 - share) * _stack(_game, 1) + share * _stack(_photo, 2) - 1
    return np.ascontiguousarray(mixed.reshape(-1, 3).T.astype(np.float32))
