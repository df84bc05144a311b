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
        depth: (H, W) float32 metres along the optical axis; the sky is at 1000.
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
    """(rows, cols) uint16: which part is on top."""
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
    return index


def _inverse_depth(index: np.ndarray, planes: np.ndarray, lens: _Lens) -> np.ndarray:
    a, b, c = (np.ascontiguousarray(column)[index] for column in planes.T)
    rows, cols = np.ogrid[: np.float32(lens.rows), : np.float32(lens.cols)]
    inverse = a * (cols + np.float32(0.5)) + b * (rows + np.float32(0.5)) + c
    return np.clip(inverse, np.float32(1 / SKY_DEPTH), np.float32(1 / NEAREST))


def _paint(
    parts: list[Part], index: np.ndarray, kind: np.ndarray, inverse: np.ndarray, lens: _Lens, look: Look
) -> np.ndarray:
    """(rows, cols, 3) uint8: colour times texture, then haze by depth."""
    depth = 1 / inverse
    factor = atlas(look.texture).take(_texel(parts, index, kind, depth, lens), axis=0)
    fade = np.minimum(np.float32(1), np.float32(_FADE) * inverse)
    fade[depth == SKY_DEPTH] = 1
    factor = 1 + (factor.astype(np.float32) - 128) * (fade / 128)[..., None]
    colour = np.array([part.colour for part in parts], np.float32)[index] * factor
    # 1 / (1 + x + x^2 / 2) for exp(-x): the same on every processor
    x = np.float32(look.haze) * np.minimum(depth, np.float32(150))
    clear = (1 / (1 + x + x * x / 2))[..., None]
    haze = np.array(look.haze_colour, np.float32)
    return np.clip(haze + (colour - haze) * clear, 0, 255).astype(np.uint8)


def _texel(parts: list[Part], index: np.ndarray, kind: np.ndarray, depth: np.ndarray, lens: _Lens) -> np.ndarray:
    """Row of the atlas for every pixel, from the position in the part's own plane."""
    rows, cols = np.ogrid[: np.float32(lens.rows), : np.float32(lens.cols)]
    reach = depth / np.float32(lens.focal)
    x, y = (cols - np.float32(lens.u0)) * reach, (rows - np.float32(lens.v0)) * reach
    kinds = kind.astype(np.uint8)[index]
    texture = np.array([part.texture for part in parts], np.uint8)
    scale = _SPANS[texture][index]
    across = (np.where(kinds == SIDE, depth, x) * scale).astype(np.int32) + index * 19
    down = (np.where(kinds == GROUND, depth, y) * scale).astype(np.int32)
    return (texture.astype(np.int32)[index] * TILE + (down & TILE - 1)) * TILE + (across & TILE - 1)


def _halve(image: np.ndarray) -> np.ndarray:
    wide = image.astype(np.uint16)
    return (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2] + 2) >> 2


def _photograph(image: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8: lens, exposure, colours and sensor noise of the domain's camera."""
    out = _blur(image.astype(np.float32), np.float32(look.blur))
    grey = out.mean(2, keepdims=True, dtype=np.float32)
    out = grey + (out - grey) * np.float32(look.saturation)
    gain = look.contrast * (1 + look.exposure * (2 * rng.random() - 1))
    out = (out - 110) * np.float32(gain) + 110
    out *= np.array(look.cast, np.float32) * _corners(image.shape[:2], look.vignette)
    out += rng.integers(-128, 128, (3, *image.shape), np.int8).sum(0, dtype=np.float32) * np.float32(look.noise / 128)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def _blur(image: np.ndarray, weight: np.float32) -> np.ndarray:
    """Two passes of a three-tap filter in both directions; the border repeats."""
    for axis in (0, 1, 0, 1):
        image = np.swapaxes(image, 0, axis)
        before, after = np.concatenate([image[:1], image[:-1]]), np.concatenate([image[1:], image[-1:]])
        image = np.swapaxes(image + weight * (before + after - 2 * image), 0, axis)
    return image


def _corners(size: tuple[int, int], vignette: float) -> np.ndarray:
    """(H, W, 1) float32: 1 in the middle, 1 - vignette in the corners."""
    v, u = (np.linspace(-1, 1, n, dtype=np.float32) for n in size)
    return (1 - np.float32(vignette / 2) * (v[:, None] ** 2 + u[None] ** 2))[..., None]


def _bonnet(image: np.ndarray, label: np.ndarray, depth: np.ndarray, domain: Domain) -> None:
    """The bonnet of the ego vehicle along the lower edge, in place."""
    height, width = label.shape
    u = np.linspace(-1, 1, width, dtype=np.float32)
    edge = height * (np.float32(0.93) + np.float32(0.05) * u * u)
    hood = np.arange(height)[:, None] >= edge
    image[hood] = np.array(domain.colours['hood'][0], np.uint8)
    label[hood] = RAW_ID['ego vehicle']
    depth[hood] = 2.0
