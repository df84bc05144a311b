"""What stands or moves in a street. Each function draws one object at (x, z) and returns it with its footprint."""

from typing import NamedTuple

from .domains import Colour
from .pencil import THINNEST, Pencil, Points, Thing, dim, disc, rect

WHITE, RED, AMBER, GREEN = (250, 248, 235), (225, 40, 30), (250, 180, 40), (60, 220, 110)


def _thick(metres: float, z: float) -> float:
    return max(metres, THINNEST * z)


def _shadow(pen: Pencil, x0: float, x1: float, z0: float, z1: float) -> None:
    pen.ground(rect(x0 - 0.15, z0 - 0.25, x1 + 0.15, z1 + 0.1), 'road', pen.colour('road', 0.45), 'asphalt')


def _seen_side(x0: float, x1: float) -> float | None:
    """The side plane of a box that the camera at x = 0 sees, if any."""
    if x0 > 0:
        return x0
    return x1 if x1 < 0 else None


def _wheels(pen: Pencil, x: float, places: list[float], radius: float, label: str) -> None:
    for z in places:
        pen.side(x, disc(z, radius, radius), label, pen.colour('tyre'))
        pen.side(x, disc(z, radius, radius * 0.5), label, pen.colour('rim'))


def _lights(pen: Pencil, z: float, x0: float, x1: float, y: float, size: float, label: str, oncoming: bool) -> None:
    for x in (x0, x1 - size):
        pen.front(z, rect(x, y, x + size, y + size * 0.7), label, WHITE if oncoming else RED)


class _Car(NamedTuple):
    x0: float
    x1: float
    z: float
    length: float
    height: float
    waist: float  # where the windows begin
    paint: Colour
    glass: Colour


def car(pen: Pencil, x: float, z: float, oncoming: bool) -> Thing:
    """A passenger car."""
    height = pen.domain.street.car_height * pen.between(0.92, 1.1)
    half, length = pen.between(0.82, 0.93), pen.between(3.7, 4.6)
    body = _Car(x - half, x + half, z, length, height, height * 0.6, pen.colour('car'), pen.colour('glass'))
    _shadow(pen, body.x0, body.x1, z, z + length)
    _car_cabin(pen, body, z + length * (0.34 if oncoming else 0.01))
    flank = _seen_side(body.x0, body.x1)
    if flank is not None:
        _car_side(pen, body, flank, oncoming)
    _car_end(pen, body, oncoming)
    return Thing(body.x0, body.x1, z, z + length, pen.take())


def _car_cabin(pen: Pencil, body: _Car, z: float) -> None:
    def across(low: float, high: float, frame: float) -> Points:
        left, right = body.x0 + frame, body.x1 - frame
        return [(left, low), (right, low), (right - 0.12, high), (left + 0.12, high)]

    pen.front(z, across(body.waist - 0.3, body.height, 0.0), 'car', body.paint)  # down to behind the bonnet
    pen.front(z, across(body.waist + 0.04, body.height - 0.09, 0.1), 'car', body.glass)


def _car_side(pen: Pencil, body: _Car, x: float, oncoming: bool) -> None:
    def along(points: Points) -> Points:  # shares of the length, from the tail
        return [(body.z + body.length * (1 - a if oncoming else a), b) for a, b in points]

    waist, roof = body.waist, body.height
    shell = [(0, 0.22), (1, 0.22), (1, waist * 0.85), (0.74, waist), (0.58, roof), (0.02, roof), (0, waist)]
    pen.side(x, along(shell), 'car', dim(body.paint, 1.05))
    pane = [(0.06, waist + 0.03), (0.69, waist + 0.03), (0.56, roof - 0.08), (0.06, roof - 0.08)]
    pen.side(x, along(pane), 'car', body.glass)
    pen.side(x, along(rect(0.35, waist, 0.38, roof)), 'car', body.paint)
    _wheels(pen, x, [body.z + body.length * 0.2, body.z + body.length * 0.8], 0.32, 'car')


def _car_end(pen: Pencil, body: _Car, oncoming: bool) -> None:
    """The face towards the camera: bonnet and front, or the tail."""
    x0, x1, z, middle = body.x0, body.x1, body.z, (body.x0 + body.x1) / 2
    if oncoming:
        pen.ground(rect(x0, z, x1, z + body.length * 0.28), 'car', dim(body.paint, 1.15), y=body.waist)
    pen.front(z, rect(x0, 0.22, x1, body.waist), 'car', dim(body.paint, 0.9))
    pen.front(z, rect(x0 + 0.1, 0.22, x1 - 0.1, 0.4), 'car', dim(body.paint, 0.4))
    pen.front(z, rect(middle - 0.26, 0.42, middle + 0.26, 0.55), 'car', pen.colour('sign', 0.9))
    for left in (x0 + 0.02, x1 - 0.24):
        pen.front(z, rect(left, 0.02, left + 0.22, 0.26), 'car', pen.colour('tyre'))
    _lights(pen, z, x0 + 0.05, x1 - 0.05, body.waist - 0.24, 0.3, 'car', oncoming)


def _box(
    pen: Pencil, x: float, z: float, size: tuple[float, float, float], label: str, paint: Colour, texture: str
) -> float:
    """A big box on wheels and its shadow; returns the sideways position of its visible flank (or its own)."""
    width, height, length = size
    x0, x1 = x - width / 2, x + width / 2
    _shadow(pen, x0, x1, z, z + length)
    plane = _seen_side(x0, x1)
    if plane is not None:
        pen.side(plane, rect(z, 0.35, z + length, height), label, dim(paint, 0.85), texture)
    pen.front(z, rect(x0, 0.35, x1, height), label, paint, texture)
    for left in (x0 + 0.1, x1 - 0.5):
        pen.front(z, rect(left, 0.0, left + 0.4, 0.6), label, pen.colour('tyre'))
    return x if plane is None else plane


def truck(pen: Pencil, x: float, z: float, oncoming: bool) -> Thing:
    """A lorry: a tall plain cargo box, and a lower cab of another colour."""
    width, height, length = 2.5, pen.between(3.1, 3.7), pen.between(6.5, 9.0)
    x0, x1 = x - width / 2, x + width / 2
    cargo, cab = pen.colour('truck'), pen.colour('cab')
    start = z + 2.2 if oncoming else z
    flank = _box(pen, x, start, (width, height, length - 2.3), 'truck', cargo, 'panels')
    pen.front(start, rect(x0, 0.35, x1, 0.95), 'truck', (46, 46, 48))
    if flank != x:
        nose = (z, z + 2.0) if oncoming else (z + length - 2.0, z + length)
        pen.side(flank, rect(start, 0.5, start + length - 2.3, 0.95), 'truck', (46, 46, 48))
        pen.side(flank, rect(nose[0], 0.4, nose[1], 2.6), 'truck', dim(cab, 0.85))
        pen.side(flank, rect(nose[0] + 0.3, 1.6, nose[1] - 0.4, 2.35), 'truck', pen.colour('glass'))
        _wheels(pen, flank, [z + 1.1, z + length * 0.55, z + length - 1.2], 0.5, 'truck')
    if oncoming:
        pen.front(z, rect(x0, 0.4, x1, 2.6), 'truck', cab)
        pen.front(z, rect(x0 + 0.15, 1.5, x1 - 0.15, 2.4), 'truck', pen.colour('glass'))
        pen.front(z, rect(x0 + 0.3, 0.6, x1 - 0.3, 1.2), 'truck', (40, 40, 42))
    else:
        pen.front(z, rect(x - 0.04, 0.95, x + 0.04, height), 'truck', dim(cargo, 0.5))
    _lights(pen, z, x0 + 0.1, x1 - 0.1, 0.62, 0.35, 'truck', oncoming)
    return Thing(x0, x1, z, z + length, pen.take())


def bus(pen: Pencil, x: float, z: float, oncoming: bool) -> Thing:
    """A city bus: one bright colour, a band of glass all around, a lit destination board."""
    width, height, length = 2.55, 3.05, pen.between(9.0, 12.0)
    x0, x1 = x - width / 2, x + width / 2
    paint, glass = pen.colour('bus'), pen.colour('glass')
    flank = _box(pen, x, z, (width, height, length), 'bus', paint, 'flat')
    if flank != x:
        pen.side(flank, rect(z + 0.2, 1.35, z + length - 0.2, 2.5), 'bus', glass)
        for door in (z + 1.0, z + length * 0.55):
            pen.side(flank, rect(door, 0.45, door + 1.2, 2.5), 'bus', dim(glass, 1.3))
        _wheels(pen, flank, [z + 2.8, z + length - 2.4], 0.5, 'bus')
    pen.front(z, rect(x0 + 0.12, 1.2 if oncoming else 1.6, x1 - 0.12, 2.5), 'bus', glass)
    pen.front(z, rect(x0 + 0.4, 2.62, x1 - 0.4, 2.92), 'bus', AMBER if oncoming else (40, 38, 36))
    _lights(pen, z, x0 + 0.1, x1 - 0.1, 0.7, 0.35, 'bus', oncoming)
    return Thing(x0, x1, z, z + length, pen.take())


def train(pen: Pencil, x: float, z: float, oncoming: bool) -> Thing:
    """A tram on its rails: long, tall, two-coloured, with single windows and a bevelled roof."""
    width, height, length = 2.5, 3.7, pen.between(20.0, 30.0)
    x0, x1 = x - width / 2, x + width / 2
    paint, trim, glass = pen.colour('train'), pen.colour('trim'), pen.colour('glass')
    _rails(pen, x)
    flank = _box(pen, x, z, (width, 3.3, length), 'train', paint, 'flat')
    if flank != x:
        pen.side(flank, rect(z, 1.25, z + length, 2.75), 'train', dim(trim, 0.85))
        for k in range(int(length / 2.0)):
            pen.side(flank, rect(z + 0.4 + 2 * k, 1.5, z + 1.8 + 2 * k, 2.55), 'train', glass)
        pen.side(flank, rect(z, 3.3, z + length, 3.6), 'train', (84, 86, 88))
    pen.front(z, [(x0, 3.3), (x1, 3.3), (x1 - 0.5, height), (x0 + 0.5, height)], 'train', (84, 86, 88))
    pen.front(z, rect(x0, 1.25, x1, 1.6), 'train', trim)
    pen.front(z, [(x0 + 0.15, 1.6), (x1 - 0.15, 1.6), (x1 - 0.35, 2.9), (x0 + 0.35, 2.9)], 'train', glass)
    pen.front(z, disc(x, 0.9, 0.22), 'train', WHITE if oncoming else RED)
    return Thing(x0, x1, z, z + length, pen.take())


def _rails(pen: Pencil, x: float) -> None:
    for rail in (x - 0.72, x + 0.62):
        pen.ground(rect(rail, 1.0, rail + 0.1, 120.0), 'road', (128, 128, 132))


def person(pen: Pencil, x: float, z: float) -> Thing:
    """A pedestrian, standing or walking."""
    tall, wide = pen.between(1.55, 1.9), pen.between(0.24, 0.3)
    hip, neck, stride = tall * 0.48, tall * 0.84, pen.between(0.02, 0.28)
    shirt, trousers, skin = pen.colour('shirt'), pen.colour('trousers'), pen.colour('skin')
    for foot in (x - stride, x + stride):
        leg = [(foot - 0.09, 0.0), (foot + 0.09, 0.0), (x + 0.17, hip), (x - 0.17, hip)]
        pen.front(z, leg, 'person', trousers)
    trunk = [(x - wide * 0.75, hip - 0.05), (x + wide * 0.75, hip - 0.05), (x + wide, neck), (x - wide, neck)]
    pen.front(z, trunk, 'person', shirt, 'cloth')
    for hand in (-1, 1):
        arm = [
            (x + hand * wide * 0.8, neck),
            (x + hand * wide, neck),
            (x + hand * (wide + 0.1), hip),
            (x + hand * wide, hip),
        ]
        pen.front(z, arm, 'person', dim(shirt, 0.85))
    pen.front(z, disc(x, tall - 0.13, 0.12, 0.15), 'person', skin)
    pen.front(z, rect(x - 0.12, tall - 0.08, x + 0.12, tall), 'person', dim(trousers, 0.6))
    return Thing(x - wide, x + wide, z, z + 0.4, pen.take())


def bicycle(pen: Pencil, x: float, z: float, ridden: bool = False) -> Thing:
    """A bicycle at some angle to the view, parked or ridden."""
    squeeze, paint = pen.between(0.45, 1.0), pen.colour('bicycle')
    reach, thin = 0.55 * squeeze, _thick(0.05, z)
    for hub in (x - reach, x + reach):
        pen.front(z, disc(hub, 0.34, 0.34 * squeeze, 0.34), 'bicycle', pen.colour('tyre'))
        pen.front(z, disc(hub, 0.34, 0.26 * squeeze, 0.26), 'bicycle', pen.colour('rim'))
    frame = [(x - reach, 0.34 - thin), (x, 0.28), (x + reach * 0.8, 0.8), (x - reach * 0.3, 0.84)]
    pen.front(z, frame, 'bicycle', paint)
    pen.front(z, rect(x + reach * 0.6, 0.92, x + reach * 1.1, 0.92 + thin), 'bicycle', paint)
    pen.front(z, rect(x - reach * 0.6, 0.9, x - reach * 0.1, 0.9 + thin), 'bicycle', (40, 36, 34))
    if ridden:
        _rider(pen, x, z, squeeze, 0.92, pen.chance(0.5))
    return Thing(x - reach, x + reach, z, z + 0.5, pen.take())


def motorcycle(pen: Pencil, x: float, z: float, ridden: bool = False) -> Thing:
    """A motorcycle: fat wheels, a closed body, a screen and a head light."""
    squeeze, paint = pen.between(0.45, 1.0), pen.colour('motorcycle')
    reach = 0.7 * squeeze
    for hub in (x - reach, x + reach):
        pen.front(z, disc(hub, 0.33, 0.33 * squeeze + 0.06, 0.33), 'motorcycle', pen.colour('tyre'))
    body = [
        (x - reach * 1.4, 0.75),
        (x - reach, 0.45),
        (x + reach * 0.6, 0.3),
        (x + reach * 1.2, 0.7),
        (x + reach, 1.05),
    ]
    pen.front(z, [*body, (x - reach * 0.2, 0.85)], 'motorcycle', paint)
    pen.front(z, rect(x - reach * 0.5, 0.25, x + reach * 0.4, 0.5), 'motorcycle', pen.colour('rim'))
    pen.front(
        z,
        [(x + reach * 0.7, 1.0), (x + reach * 1.1, 1.0), (x + reach * 0.7, 1.35)],
        'motorcycle',
        pen.colour('glass', 1.6),
    )
    pen.front(z, disc(x + reach * 1.1, 0.88, 0.1), 'motorcycle', WHITE)
    if ridden:
        _rider(pen, x - 0.1 * squeeze, z, squeeze, 0.82, True)
    return Thing(x - reach - 0.2, x + reach + 0.2, z, z + 0.8, pen.take())


def _rider(pen: Pencil, x: float, z: float, squeeze: float, seat: float, helmet: bool) -> None:
    """Somebody sitting: bent leg, back leaning forward, arms to the handlebar, head."""
    shirt, trousers, lean = pen.colour('shirt'), pen.colour('trousers'), 0.3 * squeeze
    knee = x + 0.32 * squeeze
    pen.front(
        z,
        [(x - 0.2, seat), (x + 0.1, seat + 0.14), (knee + 0.1, seat - 0.18), (knee - 0.06, seat - 0.28)],
        'rider',
        trousers,
    )
    pen.front(
        z,
        [(knee - 0.08, seat - 0.24), (knee + 0.1, seat - 0.2), (x + 0.16, 0.2), (x, 0.2)],
        'rider',
        dim(trousers, 0.9),
    )
    back = [(x - 0.22, seat), (x + 0.16, seat), (x + lean + 0.22, seat + 0.55), (x + lean - 0.2, seat + 0.6)]
    pen.front(z, back, 'rider', shirt, 'cloth')
    arm = [
        (x + lean + 0.05, seat + 0.5),
        (x + lean + 0.2, seat + 0.45),
        (x + 0.6 * squeeze + 0.08, seat + 0.12),
        (x + 0.6 * squeeze, seat),
    ]
    pen.front(z, arm, 'rider', dim(shirt, 0.8))
    pen.front(z, disc(x + lean + 0.04, seat + 0.76, 0.13, 0.16), 'rider', pen.colour('skin'))
    if helmet:
        pen.front(z, rect(x + lean - 0.11, seat + 0.78, x + lean + 0.19, seat + 0.95), 'rider', pen.colour('helmet'))


def pole(pen: Pencil, x: float, z: float) -> Thing:
    """A lamp post or a bollard."""
    half, paint = _thick(0.16, z) / 2, pen.colour('pole')
    tall = pen.between(5.0, 8.0) if pen.chance(0.75) else 1.1
    pen.front(z, rect(x - half, 0, x + half, tall), 'pole', paint)
    if tall > 2:
        reach, thin = -1.6 if x > 0 else 1.6, _thick(0.12, z)
        pen.front(z, rect(x, tall - thin, x + reach, tall), 'pole', paint)
    return Thing(x - half, x + half, z, z + 0.2, pen.take())


def traffic_light(pen: Pencil, x: float, z: float) -> Thing:
    """A signal head on its pole, sometimes with a second one on an arm over the road."""
    half, paint, inward = _thick(0.16, z) / 2, pen.colour('pole'), -1 if x > 0 else 1
    bottom = pen.between(2.3, 2.8)
    lit = pen.pick((0, 1, 2, 2, 0))
    heads = [(x, bottom)]
    pen.front(z, rect(x - half, 0, x + half, bottom + 1.3), 'pole', paint)
    if pen.chance(0.35):
        arm = x + inward * pen.between(2.5, 3.5)
        pen.front(z, rect(x - half, 5.3, x + half, bottom + 1.3), 'pole', paint)
        pen.front(z, rect(x, 5.3 - half * 2, arm, 5.3), 'pole', paint)
        heads.append((arm, 4.4))
    for centre, y in heads:
        _signal(pen, centre, y, z, lit)
    return Thing(x - half, x + half, z, z + 0.2, pen.take())


def _signal(pen: Pencil, x: float, y: float, z: float, lit: int) -> None:
    half = max(0.24, THINNEST * z)
    pen.front(z, rect(x - half, y, x + half, y + 1.25), 'traffic light', pen.colour('lamp case'))
    for k, glow in enumerate((GREEN, AMBER, RED)):
        colour = glow if k == lit else dim(glow, 0.25)
        pen.front(z, disc(x, y + 0.23 + 0.39 * k, 0.16), 'traffic light', colour)


def traffic_sign(pen: Pencil, x: float, z: float) -> Thing:
    """One or two plates on a thin post: round, triangular, square or a wide board."""
    half, y = _thick(0.09, z) / 2, pen.between(2.0, 2.5)
    pen.front(z, rect(x - half, 0, x + half, y + 0.5), 'pole', pen.colour('pole'))
    for k in range(1 + pen.chance(0.35)):
        _plate(pen, x, y + 0.4 - 0.85 * k, z)
    return Thing(x - half, x + half, z, z + 0.2, pen.take())


def _plate(pen: Pencil, x: float, y: float, z: float) -> None:
    size, shape = pen.between(0.36, 0.5), pen.pick(('round', 'round', 'triangle', 'square', 'board'))
    rim, face = pen.colour('plate'), pen.colour('sign')
    if shape == 'round':
        pen.front(z, disc(x, y, size), 'traffic sign', rim)
        pen.front(z, disc(x, y, size * 0.6), 'traffic sign', face)
    elif shape == 'triangle':
        pen.front(z, [(x - size * 1.1, y - size), (x + size * 1.1, y - size), (x, y + size)], 'traffic sign', rim)
        pen.front(
            z,
            [(x - size * 0.6, y - size * 0.7), (x + size * 0.6, y - size * 0.7), (x, y + size * 0.4)],
            'traffic sign',
            face,
        )
    else:
        wide = size if shape == 'square' else size * 1.7
        pen.front(z, rect(x - wide, y - size * 0.8, x + wide, y + size * 0.8), 'traffic sign', rim)
        pen.front(z, rect(x - wide * 0.7, y - size * 0.2, x + wide * 0.7, y + size * 0.2), 'traffic sign', face)


def tree(pen: Pencil, x: float, z: float, scale: float = 1.0) -> Thing:
    """A street tree: trunk and a ragged crown."""
    tall = pen.domain.street.tree_height * scale * pen.between(0.75, 1.25)
    half, leaf = _thick(0.3, z) / 2, pen.colour('foliage')
    pen.front(z, rect(x - half, 0, x + half, tall * 0.5), 'vegetation', pen.colour('trunk'), 'cloth')
    for shade in (0.8, 1.0, 1.15):
        a, b = x + pen.between(-0.12, 0.12) * tall, tall * pen.between(0.62, 0.76)
        pen.front(z, _ragged(pen, a, b, tall * 0.24), 'vegetation', dim(leaf, shade), 'foliage')
    return Thing(x - half, x + half, z, z + 0.4, pen.take())


def _ragged(pen: Pencil, a: float, b: float, radius: float) -> Points:
    waves = pen.rng.random(12)
    return [
        (a + (p - a) * (0.75 + 0.5 * w), b + (q - b) * (0.75 + 0.5 * w))
        for (p, q), w in zip(disc(a, b, radius), waves, strict=True)
    ]


def clutter(pen: Pencil, x: float, z: float) -> Thing:
    """Things without a class of interest: bins and boxes (static), trolleys (dynamic), bundles nobody labelled."""
    label = pen.pick(('static', 'dynamic', 'unlabeled'))
    wide, tall = pen.between(0.25, 0.5), pen.between(0.6, 1.2)
    paint = pen.colour('clutter')
    pen.front(z, rect(x - wide, 0.0, x + wide, tall), label, paint, 'panels')
    pen.front(z, rect(x - wide - 0.05, tall - 0.15, x + wide + 0.05, tall), label, dim(paint, 0.6))
    return Thing(x - wide, x + wide, z, z + 0.5, pen.take())
