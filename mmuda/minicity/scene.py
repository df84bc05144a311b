"""Where everything stands: one street in metres, drawn from a domain's statistics.

The street is a corridor that nothing behind the building line can reach into, so drawing sky, ground, plots and then
the things in the corridor from far to near shows each surface where it is the nearest.
"""

from collections.abc import Callable
from functools import cmp_to_key
from typing import NamedTuple

import numpy as np

from . import things
from .domains import Domain
from .pencil import SKY_DEPTH, Part, Pencil, Thing, dim, rect

FAR = 110.0  # metres: where the street ends


class Scene(NamedTuple):
    """The parts of a street in drawing order, and the camera over it."""

    parts: list[Part]
    height: float  # metres
    focal: float  # image widths
    vanish: tuple[float, float]  # vanishing point, shares of image width and height
    hood: bool


def draw(rng: np.random.Generator, domain: Domain) -> Scene:
    """One street scene; x = 0 is the camera's own position.

    Args:
        rng: The scene's own generator.
        domain: Statistics and colours.
    """
    pen, camera = Pencil(rng, domain), domain.camera
    road = domain.street.road * pen.between(0.85, 1.15)
    eye = road * pen.between(0.15, 0.45)
    walk = domain.street.sidewalk * pen.between(0.75, 1.25)
    vanish = (0.5 + pen.between(-1, 1) * camera.swing, camera.horizon + pen.between(-0.03, 0.03))
    height, focal = camera.height * pen.between(0.93, 1.07), camera.focal * pen.between(0.95, 1.05)
    _sky(pen)
    _skyline(pen)
    left, right = -road - eye, road - eye
    _ground(pen, left, right, walk)
    for edge, outward in ((left, -1), (right, 1)):
        _plots(pen, edge + outward * walk, outward)
    parts = pen.take()
    for thing in sorted(_traffic(pen, left, right) + _pavement(pen, left, right, walk), key=cmp_to_key(_behind_first)):
        parts += thing.parts
    return Scene(parts, height, focal, vanish, pen.chance(domain.street.hood))


def _behind_first(a: Thing, b: Thing) -> float:
    """Negative when a is to be drawn before b: farther, or side by side and farther out on one side."""
    if a.z0 >= b.z1 or b.z0 >= a.z1:
        return b.z0 - a.z0
    return min(abs(b.x0), abs(b.x1)) - min(abs(a.x0), abs(a.x1))


def _sky(pen: Pencil) -> None:
    base = pen.colour('sky')
    for k in range(8):
        top = 400.0 - 50 * k if k else SKY_DEPTH
        pen.front(
            SKY_DEPTH, rect(-2 * SKY_DEPTH, -SKY_DEPTH, 2 * SKY_DEPTH, top), 'sky', dim(base, 0.9 + 0.025 * k), 'clouds'
        )


def _skyline(pen: Pencil) -> None:
    """What closes the street at its end: trees or houses."""
    leafy = pen.chance(0.5)
    x = -120.0
    while x < 120.0:
        wide = pen.between(8, 22)
        if leafy or pen.chance(0.3):
            pen.front(FAR, rect(x, 0, x + wide + 1, pen.between(5, 11)), 'vegetation', pen.colour('foliage'), 'foliage')
        else:
            tall = 3 * pen.domain.street.storeys * pen.between(0.4, 0.9)
            pen.front(FAR, rect(x, 0, x + wide, tall), 'building', pen.colour('building'), 'windows')
        x += wide


def _ground(pen: Pencil, left: float, right: float, walk: float) -> None:
    def strip(x0: float, x1: float, label: str, material: str, texture: str, shade: float = 1.0) -> None:
        pen.ground(rect(x0, 0.8, x1, FAR), label, pen.colour(material, shade), texture)

    bare = pen.chance(0.15)
    strip(-200, 200, *(('ground', 'ground', 'asphalt') if bare else ('terrain', 'grass', 'grass')))
    strip(left - walk, left, 'sidewalk', 'sidewalk', 'slabs')
    strip(right, right + walk, 'sidewalk', 'sidewalk', 'slabs')
    strip(left, right, 'road', 'road', 'asphalt')
    for edge in (left, right):
        strip(edge - 0.12, edge + 0.12, 'sidewalk', 'sidewalk', 'flat', 0.75)
    if pen.chance(0.5):
        strip(
            *((right + walk * 0.72, right + walk) if pen.chance(0.5) else (left - walk, left - walk * 0.72)),
            'terrain',
            'grass',
            'grass',
        )
    _markings(pen, left, right)


def _markings(pen: Pencil, left: float, right: float) -> None:
    paint, middle = pen.colour('marking'), (left + right) / 2
    for z in np.arange(pen.between(1, 5), 60, 9.0):
        pen.ground(rect(middle - 0.08, z, middle + 0.08, z + 4), 'road', paint)
    if pen.chance(0.3):
        z = pen.between(7, 20)
        for x in np.arange(left + 0.5, right - 0.5, 1.1):
            pen.ground(rect(x, z, x + 0.55, z + 3), 'road', paint)


def _plots(pen: Pencil, line: float, outward: int) -> None:
    """The plots along one side, from the far end to the camera."""
    street = pen.domain.street
    shares = np.cumsum([street.building, street.trees_plot, street.wall, street.fence])
    z1 = FAR
    while z1 > 1.0:
        z0 = max(z1 - pen.between(7, 20), 0.8)
        plot = (_house, _grove, _wall, _fence, _meadow)[int(np.searchsorted(shares, pen.rng.random()))]
        plot(pen, line, outward, z0, z1)
        z1 = z0


def _house(pen: Pencil, line: float, outward: int, z0: float, z1: float) -> None:
    tall = 3.1 * pen.domain.street.storeys * pen.between(0.55, 1.4)
    x = line + outward * pen.domain.street.setback * pen.between(0.2, 1.8)
    paint = pen.colour('building')
    texture = 'windows' if pen.chance(0.7) else 'plain facade'
    pen.front(z0, rect(x, 0, x + outward * 14, tall), 'building', dim(paint, 0.75), texture)
    pen.side(x, rect(z0, 0, z1, tall), 'building', paint, texture)
    pen.side(x, rect(z0, 0, z1, 0.7), 'building', dim(paint, 0.6))
    pen.side(x, rect(z0, tall - 0.5, z1, tall), 'building', dim(paint, 0.7))
    for door in np.arange(z0 + 1.5, z1 - 2, pen.between(6, 10)):
        pen.side(x, rect(door, 0, door + 1.4, 2.4), 'building', dim(paint, 0.35))


def _grove(pen: Pencil, line: float, outward: int, z0: float, z1: float) -> None:
    depth = line + outward * pen.between(1.0, 2.5)
    for z in np.linspace(z1, z0 + 1, 3):
        pen.add(things.tree(pen.fresh(), depth + outward * pen.between(0, 5), z, 1.2))
    hedge, tall = pen.colour('foliage', 0.85), pen.between(1.0, 2.4)
    pen.side(line, rect(z0, 0, z1, tall), 'vegetation', hedge, 'foliage')
    pen.front(z0, rect(line, 0, line + outward * 3, tall), 'vegetation', dim(hedge, 0.7), 'foliage')


def _meadow(pen: Pencil, line: float, outward: int, z0: float, z1: float) -> None:
    if pen.chance(0.4):
        _back_tree(pen, line, outward, z0, z1)


def _back_tree(pen: Pencil, line: float, outward: int, z0: float, z1: float) -> None:
    pen.add(things.tree(pen.fresh(), line + outward * pen.between(3, 9), pen.between(z0, z1) + 1))


def _wall(pen: Pencil, line: float, outward: int, z0: float, z1: float) -> None:
    if pen.chance(0.6):
        _back_tree(pen, line, outward, z0, z1)
    tall, paint = pen.between(1.8, 3.2), pen.colour('wall')
    pen.front(z0, rect(line, 0, line + outward * 0.4, tall), 'wall', dim(paint, 0.7))
    pen.side(line, rect(z0, 0, z1, tall), 'wall', paint, 'brick')
    pen.side(line, rect(z0, tall - 0.2, z1, tall), 'wall', dim(paint, 1.2))


def _fence(pen: Pencil, line: float, outward: int, z0: float, z1: float) -> None:
    if pen.chance(0.6):
        _back_tree(pen, line, outward, z0, z1)
    tall, paint = pen.between(1.2, 2.0), pen.colour('fence')
    pen.side(line, rect(z0, 0.05, z1, tall), 'fence', dim(paint, 1.4), 'bars')
    for rail in (0.2, tall - 0.12):
        pen.side(line, rect(z0, rail, z1, rail + 0.12), 'fence', dim(paint, 0.7))


def _count(pen: Pencil, mean: float) -> int:
    return int(pen.rng.poisson(mean))


def _near(pen: Pencil, low: float = 5.0, high: float = 60.0) -> float:
    """A distance, the near ones more often."""
    share = pen.rng.random()
    return low + (high - low) * share * share


def _traffic(pen: Pencil, left: float, right: float) -> list[Thing]:
    """Vehicles and riders, one after the other in four lanes: parked, oncoming, ahead, parked."""
    street, middle = pen.domain.street, (left + right) / 2
    lanes = {
        'parked left': (left + 1.1, True),
        'oncoming': (middle - (right - left) * 0.17, True),
        'ahead': (middle + (right - left) * 0.17, False),
        'parked right': (right - 1.1, False),
    }
    taken: dict[str, list[Thing]] = {name: [] for name in lanes}

    def place(make: Callable[[Pencil, float, float, bool], Thing], names: tuple[str, ...], low: float) -> None:
        name = pen.pick(names)
        x, oncoming = lanes[name]
        thing = make(pen, x + pen.between(-0.2, 0.2), _near(pen, low if name != 'ahead' else low + 3), oncoming)
        if all(thing.z0 > other.z1 + 0.5 or thing.z1 < other.z0 - 0.5 for other in taken[name]):
            taken[name].append(thing)

    driving, parked = ('oncoming', 'ahead'), ('parked left', 'parked right')
    plan = (
        (things.train, driving[:1], street.trains, 9.0),
        (things.bus, driving, street.buses, 8.0),
        (things.truck, driving, street.trucks, 8.0),
        (_cyclist, (*driving, 'parked right'), street.riders, 5.0),
        (things.car, driving, street.driving, 6.0),
        (things.car, parked, street.parked, 4.0),
    )
    for make, names, mean, low in plan:
        for _ in range(_count(pen, mean)):
            place(make, names, low)
    return [thing for lane in taken.values() for thing in lane]


def _cyclist(pen: Pencil, x: float, z: float, oncoming: bool) -> Thing:
    make = things.bicycle if pen.chance(0.6) else things.motorcycle
    return make(pen, x, z, ridden=True)


def _pavement(pen: Pencil, left: float, right: float, walk: float) -> list[Thing]:
    """What stands on the two sidewalks, at most a few persons on the road."""
    street = pen.domain.street

    def spot(low: float, high: float) -> float:  # shares of the sidewalk, from the kerb
        inside = walk * pen.between(low, high)
        return right + inside if pen.chance(0.5) else left - inside

    plan = (
        (things.pole, street.poles, 0.1, 0.2),
        (things.traffic_light, street.lights, 0.1, 0.2),
        (things.traffic_sign, street.signs, 0.1, 0.3),
        (things.tree, street.trees, 0.3, 0.5),
        (things.bicycle, street.bicycles, 0.2, 0.7),
        (things.motorcycle, street.motorcycles, -0.1, 0.4),
        (things.clutter, street.clutter, 0.2, 0.9),
        (things.person, street.persons * 0.85, 0.15, 0.9),
        (things.person, street.persons * 0.15, -0.8, 0.0),
    )
    return [make(pen, spot(low, high), _near(pen)) for make, mean, low, high in plan for _ in range(_count(pen, mean))]
