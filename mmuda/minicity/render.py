"""From a scene to pixels: one image of part numbers, and everything else by look-up.

Each part lies in a plane, so the inverse depth at a pixel is an affine function of the pixel's position with three
coefficients per part. Labels, depth, position in the plane (for the texture) and colour then follow for all pixels at
once. Drawn at twice the size: colour is averaged down (antialiasing), label and depth are taken at one of the four
sub-pixels, never interpolated. Only integer and exactly rounded float operations, so that pictures do not depend on
the processor, on threads or on an OpenCV back end.
"""

from typing import NamedTuple

import cv2
import numpy as np

from .domains import Domain, Look
from .labels import RAW_ID
from .pencil import FRONT, GROUND, SIDE, SKY_DEPTH, Part
from .scene import Scene
from .textures import SPAN, TILE, atlas

OVERSAMPLE = 2
NEAREST = 0.8  # metres: parts are cut off here, in front of what the camera sees of the ground
_SPANS = np.array([TILE / span for span in SPAN.values()], np.float32)
_FADE = 14.0  # metres: beyond, textures lose contrast with distance as they would when averaged over a pixel


class View(NamedTuple):
    """One rendered scene.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) uint8 raw Cityscapes ids.
        depth: (H, W) float32 metres along the optical axis; the sky is at ``SKY_DEPTH``.
    """

    image: np.ndarray
    label: np.ndarray
    depth: np.ndarray


class _Lens:
    """Where the camera puts a point, in sub-pixels."""

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self.rows, self.cols = size[0] * OVERSAMPLE, size[1] * OVERSAMPLE
        self.focal = scene.focal * self.cols
        self.u0, self.v0 = scene.vanish[0] * self.cols, scene.vanish[1] * self.rows
        self.height = scene.height

    def project(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) metres -> (n, 2) sub-pixels; points closer than NEAREST are moved there."""
        x, y, z = points.T
        scale = self.focal / np.maximum(z, NEAREST)
        return np.stack([self.u0 + x * scale, self.v0 + (self.height - y) * scale], 1)

    def planes(self, kind: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Inverse depth of each part as (parts, 3) coefficients of (column, row, 1)."""
        planes = np.zeros((len(kind), 3))
        front, side, ground = (kind == k for k in (FRONT, SIDE, GROUND))
        planes[front, 2] = 1 / at[front]
        planes[side, 0] = 1 / (self.focal * at[side])
        planes[side, 2] = -self.u0 * planes[side, 0]
        planes[ground, 1] = 1 / (self.focal * (self.height - at[ground]))
        planes[ground, 2] = -self.v0 * planes[ground, 1]
        return planes.astype(np.float32)


def render(scene: Scene, domain: Domain, size: tuple[int, int], rng: np.random.Generator) -> View:
    """Render a scene as its domain's camera sees it.

    Args:
        scene: What to draw.
        domain: Whose look to apply.
        size: (height, width) of the result.
        rng: The scene's generator, for sensor noise and exposure.
    """
    lens = _Lens(scene, size)
    kind = np.array([part.kind for part in scene.parts])
    at = np.array([part.at for part in scene.parts])
    index = _part_numbers(scene.parts, kind, lens)
    inverse = _inverse_depth(index, lens.planes(kind, at), lens)
    image = _paint(scene.parts, index, kind, inverse, lens, domain.look)
    label = np.array([part.label for part in scene.parts], np.uint8)[index[1::2, 1::2]]
    depth = 1 / inverse[1::2, 1::2]
    image = _photograph(_halve(image), domain.look, rng)
    if scene.hood:
        _bonnet(image, label, depth, domain)
    return View(image, label, depth)


def _part_numbers(parts: list[Part], kind: np.ndarray, lens: _Lens) -> np.ndarray:
    """(rows, cols): which part is on top."""
    counts = np.array([len(part.points) for part in parts])
    flat = np.array([point for part in parts for point in part.points])
    at = np.repeat([part.at for part in parts], counts)
    kinds = np.repeat(kind, counts)
    first, second = flat.T
    points = np.stack(
        [
            np.where(kinds == SIDE, at, first),
            np.where(kinds == GROUND, at, second),
            np.where(kinds == FRONT, at, np.where(kinds == SIDE, first, second)),
        ],
        1,
    )
    corners = np.rint(lens.project(points) * 16).astype(np.int32)
    index = np.zeros((lens.rows, lens.cols), np.uint16)
    for number, polygon in enumerate(np.split(corners, np.cumsum(counts)[:-1])):
        cv2.fillPoly(index, [polygon], number, shift=4)
    return index.astype(np.intp)


def _inverse_depth(index: np.ndarray, planes: np.ndarray, lens: _Lens) -> np.ndarray:
    a, b, c = (np.ascontiguousarray(column)[index] for column in planes.T)
    rows, cols = np.ogrid[: np.float32(lens.rows), : np.float32(lens.cols)]
    inverse = a * (cols + np.float32(0.5)) + b * (rows + np.float32(0.5)) + c
    return np.clip(inverse, np.float32(1 / SKY_DEPTH), np.float32(1 / NEAREST))


def _paint(
    parts: list[Part], index: np.ndarray, kind: np.ndarray, inverse: np.ndarray, lens: _Lens, look: Look
) -> np.ndarray:
    """(3, rows, cols) float32: colour times texture, then haze by depth. Channels first: four times as fast."""
    depth = 1 / inverse
    texel = _texel(parts, index, kind, depth, lens)
    fade = np.where(depth < SKY_DEPTH, np.minimum(np.float32(1), np.float32(_FADE) * inverse), np.float32(1))
    # 1 / (1 + x + x^2 / 2) for exp(-x): the same on every processor
    x = np.float32(look.haze) * np.minimum(depth, np.float32(150))
    clear = 1 / (1 + x + np.float32(0.5) * x * x)
    colours = np.array([part.colour for part in parts], np.float32).T
    channels = zip(colours, atlas(look.texture), np.array(look.haze_colour, np.float32), strict=True)
    image = [haze + (colour[index] * (1 + tiles[texel] * fade) - haze) * clear for colour, tiles, haze in channels]
    return np.clip(image, np.float32(0), np.float32(255))


def _texel(parts: list[Part], index: np.ndarray, kind: np.ndarray, depth: np.ndarray, lens: _Lens) -> np.ndarray:
    """Entry of the atlas for every pixel, from the position in the part's own plane."""
    rows, cols = np.ogrid[: np.float32(lens.rows), : np.float32(lens.cols)]
    reach = depth / np.float32(lens.focal)
    x, y = (cols - np.float32(lens.u0)) * reach, (rows - np.float32(lens.v0)) * reach
    texture = np.array([part.texture for part in parts])
    scale = _SPANS[texture][index]
    across = (np.where((kind == SIDE)[index], depth, x) * scale).astype(np.int32)
    down = (np.where((kind == GROUND)[index], depth, y) * scale).astype(np.int32)
    start = texture * TILE * TILE
    return start[index] + (down & TILE - 1) * TILE + (across + index * 19 & TILE - 1)


def _halve(image: np.ndarray) -> np.ndarray:
    upper = image[:, ::2, ::2] + image[:, ::2, 1::2]
    lower = image[:, 1::2, ::2] + image[:, 1::2, 1::2]
    return (upper + lower) * np.float32(0.25)


def _photograph(image: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """(3, H, W) to (H, W, 3) uint8: lens, exposure, colours and sensor noise of the domain's camera."""
    image = _blur(image, np.float32(look.blur))
    grey = (image[0] + image[1] + image[2]) * np.float32(1 / 3)
    image = grey + (image - grey) * np.float32(look.saturation)
    gain = look.contrast * (1 + look.exposure * (2 * rng.random() - 1))
    image = (image - 110) * np.float32(gain) + 110
    image *= np.array(look.cast, np.float32)[:, None, None] * _corners(image.shape[1:], look.vignette)
    noise = rng.integers(-128, 128, (3, *image.shape), np.int8).sum(0, dtype=np.int16)  # standard deviation 128
    image += noise * np.float32(look.noise / 128)
    return np.ascontiguousarray(np.clip(np.rint(image), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _blur(image: np.ndarray, weight: np.float32) -> np.ndarray:
    """Two passes of a three-tap filter along rows and columns; the border repeats."""
    height, width = image.shape[1:]
    for _ in range(2):
        wide = np.pad(image, ((0, 0), (1, 1), (1, 1)), 'edge')
        image = wide[:, 1:-1] + weight * (wide[:, :height] + wide[:, 2:] - 2 * wide[:, 1:-1])
        image = image[..., 1:-1] + weight * (image[..., :width] + image[..., 2:] - 2 * image[..., 1:-1])
    return image


def _corners(size: tuple[int, int], vignette: float) -> np.ndarray:
    """(H, W) float32: 1 in the middle, 1 - vignette in the corners."""
    v, u = (np.linspace(-1, 1, n, dtype=np.float32) for n in size)
    return 1 - np.float32(vignette / 2) * (v[:, None] ** 2 + u[None] ** 2)


def _bonnet(image: np.ndarray, label: np.ndarray, depth: np.ndarray, domain: Domain) -> None:
    """The bonnet of the ego vehicle along the lower edge, in place."""
    height, width = label.shape
    u = np.linspace(-1, 1, width, dtype=np.float32)
    edge = height * (np.float32(0.93) + np.float32(0.05) * u * u)
    hood = np.arange(height)[:, None] >= edge
    image[hood] = np.array(domain.colours['hood'][0], np.uint8)
    label[hood] = RAW_ID['ego vehicle']
    depth[hood] = 2.0
