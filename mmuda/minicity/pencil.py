"""The vocabulary of a scene: flat parts in a street, metres, and the pencil that draws them.

Right-handed enough for a street: x to the right of the camera's lane, y up from the ground, z ahead of the camera.
Every part lies in a plane of constant z (``FRONT``), constant x (``SIDE``) or constant y (``GROUND``), so its depth
at a pixel follows exactly from the pixel's position.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .domains import Colour, Domain
from .labels import RAW_ID
from .textures import TEXTURE

FRONT, SIDE, GROUND = 0, 1, 2
SKY_DEPTH = 1024.0  # metres; a power of two has an exact inverse
THINNEST = 0.0066  # radians: what is thinner is drawn this thick, about 1.5 pixels at a width of 256

Points = list[tuple[float, float]]


class Part(NamedTuple):
    """A filled polygon in a plane; points are (x, y) at z, (z, y) at x or (x, z) at y."""

    kind: int
    at: float
    points: Points
    label: int
    colour: Colour
    texture: int


class Thing(NamedTuple):
    """An object's footprint on the ground, metres, and its parts in drawing order."""

    x0: float
    x1: float
    z0: float
    z1: float
    parts: list[Part]


def rect(a0: float, b0: float, a1: float, b1: float) -> Points:
    """The rectangle between two corners."""
    return [(a0, b0), (a1, b0), (a1, b1), (a0, b1)]


_CIRCLE = [(math.cos(math.tau * k / 12), math.sin(math.tau * k / 12)) for k in range(12)]


def disc(a: float, b: float, radius: float, radius_b: float | None = None) -> Points:
    """A circle, or an ellipse whose second radius is given."""
    return [(a + radius * c, b + (radius_b or radius) * s) for c, s in _CIRCLE]


class Pencil:
    """Draws parts with a domain's colours and a scene's random numbers."""

    def __init__(self, rng: np.random.Generator, domain: Domain) -> None:
        self.rng = rng
        self.domain = domain
        self._parts: list[Part] = []

    def between(self, low: float, high: float) -> float:
        """A uniform draw."""
        return low + (high - low) * self.rng.random()

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return self.rng.random() < share

    def pick(self, options: Iterable) -> object:
        """One of the options."""
        options = tuple(options)
        return options[int(self.rng.random() * len(options))]

    def colour(self, material: str, shade: float = 1.0) -> Colour:
        """One of the material's colours in this domain, a little lighter or darker each time."""
        factor = shade * self.between(0.9, 1.1)
        red, green, blue = self.pick(self.domain.colours[material])
        return red * factor, green * factor, blue * factor

    def front(self, z: float, points: Points, label: str, colour: Colour, texture: str = 'flat') -> None:
        """A polygon facing the camera at distance z."""
        self._parts.append(Part(FRONT, z, points, RAW_ID[label], colour, TEXTURE[texture]))

    def side(self, x: float, points: Points, label: str, colour: Colour, texture: str = 'flat') -> None:
        """A polygon along the street at sideways position x."""
        self._parts.append(Part(SIDE, x, points, RAW_ID[label], colour, TEXTURE[texture]))

    def ground(self, points: Points, label: str, colour: Colour, texture: str = 'flat', y: float = 0.0) -> None:
        """A level polygon at height y."""
        self._parts.append(Part(GROUND, y, points, RAW_ID[label], colour, TEXTURE[texture]))

    def fresh(self) -> 'Pencil':
        """Another pencil with the same random numbers and colours, for a thing in the middle of a drawing."""
        return Pencil(self.rng, self.domain)

    def add(self, thing: Thing) -> None:
        """Put a finished thing into the drawing."""
        self._parts += thing.parts

    def take(self) -> list[Part]:
        """Everything drawn since the last call."""
        parts, self._parts = self._parts, []
        return parts


def dim(colour: Colour, factor: float) -> Colour:
    """The colour in more or less light."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
