"""What differs between the two domains: street statistics, camera, colours and look, and the named shift levels.

A domain is a table of numbers, so a shift level is a point on the line from the source's table to the far target's.
Nothing in here knows an adaptation method: the numbers were chosen by looking at pictures, and at how a network does
that is trained on the source alone or on the target alone.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Street:
    """How often things stand in a street and how large they are. Densities are expected counts per scene."""

    road: float  # half width, metres
    sidewalk: float  # width, metres
    setback: float  # sidewalk to building line, metres
    storeys: float
    building: float  # shares of the plots along the street; the rest is open terrain
    trees_plot: float
    wall: float
    fence: float
    trees: float
    tree_height: float  # metres
    poles: float
    lights: float
    signs: float
    persons: float
    riders: float
    bicycles: float
    motorcycles: float
    parked: float
    driving: float
    trucks: float
    buses: float
    trains: float
    clutter: float
    car_height: float  # metres
    hood: float  # share of scenes that show the bonnet of the ego vehicle


@dataclass(frozen=True)
class Camera:
    """A pinhole camera over a flat ground; lengths in image widths or heights."""

    height: float  # metres over the road
    focal: float  # image widths
    horizon: float  # share of the image height, from the top
    swing: float  # largest sideways move of the vanishing point, image widths


@dataclass(frozen=True)
class Look:
    """From clean albedo to the picture the camera delivers."""

    texture: float  # 0 = the source's texture tiles, 1 = the target's
    saturation: float
    contrast: float
    cast: Colour  # factor per RGB channel
    haze: float  # extinction per metre
    haze_colour: Colour
    blur: float  # weight of the neighbours per pass, 0..0.25
    noise: float  # standard deviation, grey levels
    vignette: float  # darkening at the corners
    exposure: float  # spread of the brightness over scenes


@dataclass(frozen=True)
class Domain:
    """Everything that makes a look: statistics, camera, appearance and one list of RGB colours per material."""

    street: Street
    camera: Camera
    look: Look
    colours: dict[str, tuple[Colour, ...]]


SOURCE = Domain(
    street=Street(
        road=7.6,
        sidewalk=2.4,
        setback=3.0,
        storeys=7.0,
        building=0.46,
        trees_plot=0.14,
        wall=0.14,
        fence=0.14,
        trees=3.0,
        tree_height=8.0,
        poles=5.0,
        lights=2.0,
        signs=2.2,
        persons=5.0,
        riders=1.5,
        bicycles=1.6,
        motorcycles=1.2,
        parked=2.5,
        driving=2.5,
        trucks=0.55,
        buses=0.4,
        trains=0.3,
        clutter=1.0,
        car_height=1.35,
        hood=0.0,
    ),
    camera=Camera(height=2.3, focal=0.78, horizon=0.40, swing=0.06),
    look=Look(
        texture=0.0,
        saturation=1.15,
        contrast=1.1,
        cast=(1.02, 1.0, 0.98),
        haze=0.001,
        haze_colour=(190, 205, 225),
        blur=0.0,
        noise=1.0,
        vignette=0.0,
        exposure=0.1,
    ),
    colours={
        'road': ((92, 92, 96), (80, 80, 86), (104, 102, 100)),
        'marking': ((235, 235, 235), (235, 225, 190)),
        'sidewalk': ((168, 160, 150), (178, 172, 166), (156, 148, 140)),
        'ground': ((140, 122, 100), (128, 116, 98)),
        'building': ((196, 150, 112), (178, 112, 84), (206, 186, 150), (150, 136, 150), (214, 204, 186)),
        'wall': ((150, 140, 124), (166, 148, 120), (136, 130, 126)),
        'fence': ((110, 96, 82), (128, 128, 136), (96, 110, 96)),
        'pole': ((70, 72, 78), (96, 98, 104)),
        'foliage': ((64, 128, 40), (84, 148, 46), (54, 108, 44)),
        'trunk': ((98, 72, 48), (84, 64, 46)),
        'grass': ((118, 152, 62), (146, 146, 78), (104, 140, 56)),
        'sky': ((104, 160, 232), (120, 172, 236), (150, 186, 230), (204, 212, 220)),
        'skin': ((214, 160, 126), (150, 102, 76), (232, 186, 156)),
        'shirt': ((202, 42, 42), (46, 92, 190), (228, 212, 78), (240, 240, 240), (44, 148, 88)),
        'trousers': ((44, 54, 96), (60, 58, 56), (112, 96, 72)),
        'helmet': ((230, 60, 40), (240, 240, 240), (40, 90, 200)),
        'car': ((192, 28, 32), (32, 72, 176), (226, 226, 230), (36, 38, 44), (226, 176, 34), (128, 136, 144)),
        'glass': ((46, 70, 98), (58, 86, 112)),
        'tyre': ((28, 28, 30),),
        'truck': ((222, 214, 200), (64, 104, 150), (184, 92, 48)),
        'cab': ((196, 44, 36), (240, 240, 236), (48, 110, 64)),
        'bus': ((236, 168, 24), (214, 54, 42)),
        'train': ((58, 132, 108), (48, 108, 152)),
        'trim': ((236, 232, 222),),
        'motorcycle': ((150, 24, 28), (34, 40, 120), (36, 36, 40)),
        'bicycle': ((40, 140, 160), (190, 40, 60), (60, 60, 64)),
        'rim': ((150, 156, 162),),
        'plate': ((214, 30, 36), (30, 84, 196), (244, 206, 36)),
        'sign': ((246, 246, 246),),
        'lamp case': ((38, 40, 38),),
        'clutter': ((60, 96, 70), (120, 84, 60), (90, 92, 96)),
        'hood': ((34, 36, 42),),
    },
)

FAR_TARGET = Domain(
    street=Street(
        road=5.2,
        sidewalk=3.4,
        setback=0.4,
        storeys=4.2,
        building=0.58,
        trees_plot=0.2,
        wall=0.08,
        fence=0.08,
        trees=5.5,
        tree_height=6.0,
        poles=6.0,
        lights=2.6,
        signs=3.6,
        persons=9.0,
        riders=2.4,
        bicycles=3.0,
        motorcycles=1.2,
        parked=6.0,
        driving=2.5,
        trucks=0.3,
        buses=0.35,
        trains=0.3,
        clutter=1.6,
        car_height=1.55,
        hood=1.0,
    ),
    camera=Camera(height=1.3, focal=1.1, horizon=0.5, swing=0.1),
    look=Look(
        texture=1.0,
        saturation=0.78,
        contrast=0.94,
        cast=(0.95, 1.01, 0.96),
        haze=0.012,
        haze_colour=(196, 200, 196),
        blur=0.2,
        noise=6.0,
        vignette=0.3,
        exposure=0.12,
    ),
    colours={
        'road': ((100, 98, 98), (112, 110, 108), (86, 86, 88)),
        'marking': ((198, 198, 194), (176, 174, 168)),
        'sidewalk': ((140, 128, 124), (126, 120, 120), (150, 140, 132)),
        'ground': ((124, 114, 106), (112, 106, 100)),
        'building': ((168, 150, 130), (140, 120, 110), (190, 180, 160), (120, 116, 118), (176, 168, 160)),
        'wall': ((118, 110, 104), (134, 122, 112), (104, 102, 104)),
        'fence': ((84, 88, 84), (100, 102, 104), (76, 84, 78)),
        'pole': ((104, 108, 108), (82, 86, 86)),
        'foliage': ((58, 92, 44), (74, 106, 52), (48, 76, 42)),
        'trunk': ((72, 62, 54), (62, 56, 52)),
        'grass': ((104, 116, 70), (122, 118, 82), (92, 104, 66)),
        'sky': ((190, 204, 220), (204, 212, 222), (176, 196, 218), (212, 214, 216)),
        'skin': ((190, 150, 130), (136, 100, 82), (206, 168, 150)),
        'shirt': ((96, 44, 46), (50, 60, 92), (128, 122, 100), (190, 190, 190), (54, 70, 62)),
        'trousers': ((48, 52, 68), (40, 40, 42), (82, 76, 68)),
        'helmet': ((170, 70, 60), (200, 200, 200), (60, 76, 120)),
        'car': ((128, 40, 42), (52, 66, 110), (196, 196, 198), (44, 46, 50), (90, 92, 92), (148, 152, 156)),
        'glass': ((52, 62, 66), (70, 80, 84)),
        'tyre': ((34, 34, 36),),
        'truck': ((204, 202, 196), (84, 98, 118), (160, 120, 96)),
        'cab': ((150, 60, 54), (206, 206, 202), (66, 92, 76)),
        'bus': ((206, 168, 70), (168, 64, 56)),
        'train': ((96, 140, 116), (84, 112, 140)),
        'trim': ((206, 202, 196),),
        'motorcycle': ((104, 38, 40), (46, 52, 88), (44, 44, 46)),
        'bicycle': ((66, 100, 108), (120, 56, 64), (70, 70, 72)),
        'rim': ((126, 128, 130),),
        'plate': ((176, 48, 50), (50, 82, 150), (202, 180, 76)),
        'sign': ((214, 214, 210),),
        'lamp case': ((48, 50, 48),),
        'clutter': ((70, 84, 74), (104, 86, 74), (88, 88, 90)),
        'hood': ((44, 46, 50),),
    },
)

SHIFTS = {'none': 0.0, 'mild': 0.4, 'medium': 0.7, 'strong': 1.0}


def target(shift: str = 'medium') -> Domain:
    """The target domain at a named shift level.

    Args:
        shift: A key of ``SHIFTS``; ``none`` gives the source's own statistics and look.

    Returns:
        The table of numbers between the source's and the far target's.

    Raises:
        ValueError: If there is no such level.
    """
    if shift not in SHIFTS:
        raise ValueError(f'MiniCity has no shift level {shift!r}; choose one of {", ".join(SHIFTS)}.')
    return _between(SOURCE, FAR_TARGET, SHIFTS[shift])


def _between(a: Any, b: Any, share: float) -> Any:
    if isinstance(a, float | int):
        return a + (b - a) * share
    if isinstance(a, tuple):
        return tuple(_between(x, y, share) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return {key: _between(a[key], b[key], share) for key in a}
    return type(a)(*(_between(getattr(a, f.name), getattr(b, f.name), share) for f in dataclasses.fields(a)))
