"""The label table, as far as MiniCity draws it: names, ids in Cityscapes, SYNTHIA, Mapillary and RobotCar, colours."""

import numpy as np

IGNORE = 255

# name: (raw id, train id or 255, colour); the published Cityscapes table.
_TABLE = {
    'unlabeled': (0, IGNORE, (0, 0, 0)),
    'ego vehicle': (1, IGNORE, (0, 0, 0)),
    'static': (4, IGNORE, (0, 0, 0)),
    'dynamic': (5, IGNORE, (111, 74, 0)),
    'ground': (6, IGNORE, (81, 0, 81)),
    'road': (7, 0, (128, 64, 128)),
    'sidewalk': (8, 1, (244, 35, 232)),
    'building': (11, 2, (70, 70, 70)),
    'wall': (12, 3, (102, 102, 156)),
    'fence': (13, 4, (190, 153, 153)),
    'pole': (17, 5, (153, 153, 153)),
    'traffic light': (19, 6, (250, 170, 30)),
    'traffic sign': (20, 7, (220, 220, 0)),
    'vegetation': (21, 8, (107, 142, 35)),
    'terrain': (22, 9, (152, 251, 152)),
    'sky': (23, 10, (70, 130, 180)),
    'person': (24, 11, (220, 20, 60)),
    'rider': (25, 12, (255, 0, 0)),
    'car': (26, 13, (0, 0, 142)),
    'truck': (27, 14, (0, 0, 70)),
    'bus': (28, 15, (0, 60, 100)),
    'train': (31, 16, (0, 80, 100)),
    'motorcycle': (32, 17, (0, 0, 230)),
    'bicycle': (33, 18, (119, 11, 32)),
}

# The published SYNTHIA class ids; what has none is 0, void.
_SYNTHIA = {
    'sky': 1,
    'building': 2,
    'road': 3,
    'sidewalk': 4,
    'fence': 5,
    'vegetation': 6,
    'pole': 7,
    'car': 8,
    'traffic sign': 9,
    'person': 10,
    'bicycle': 11,
    'motorcycle': 12,
    'traffic light': 15,
    'terrain': 16,
    'rider': 17,
    'truck': 18,
    'bus': 19,
    'train': 20,
    'wall': 21,
}

# The published ids of Mapillary Vistas v1.2; what has none is 65, unlabeled.
_MAPILLARY = {
    'fence': 3,
    'wall': 6,
    'road': 13,
    'sidewalk': 15,
    'building': 17,
    'person': 19,
    'rider': 20,
    'sky': 27,
    'terrain': 29,
    'vegetation': 30,
    'pole': 45,
    'traffic light': 48,
    'traffic sign': 50,
    'bicycle': 52,
    'bus': 54,
    'car': 55,
    'motorcycle': 57,
    'train': 58,
    'truck': 61,
    'ego vehicle': 64,
}

# The published ids of Oxford RobotCar, as far as its nine classes tell; what has none is 0.
_ROBOTCAR = {
    'sky': 1,
    'person': 2,
    'rider': 2,
    'motorcycle': 3,
    'bicycle': 3,
    'car': 4,
    'truck': 4,
    'bus': 4,
    'traffic sign': 5,
    'traffic light': 6,
    'building': 7,
    'sidewalk': 10,
    'road': 11,
}

RAW_ID = {name: raw for name, (raw, _, _) in _TABLE.items()}
CLASSES = tuple(name for name, (_, train, _) in _TABLE.items() if train != IGNORE)

TRAIN_ID = np.full(256, IGNORE, np.uint8)  # raw id -> train id
SYNTHIA_ID = np.zeros(256, np.uint8)  # raw id -> SYNTHIA class id
MAPILLARY_ID = np.full(256, 65, np.uint8)  # raw id -> Mapillary class id
ROBOTCAR_ID = np.zeros(256, np.uint8)  # raw id -> RobotCar class id
PALETTE = np.zeros((256, 3), np.uint8)  # raw id -> RGB
MAPILLARY_PALETTE = np.zeros((256, 3), np.uint8)  # Mapillary class id -> RGB
for _name, (_raw, _train, _colour) in _TABLE.items():
    TRAIN_ID[_raw], SYNTHIA_ID[_raw], PALETTE[_raw] = _train, _SYNTHIA.get(_name, 0), _colour
    ROBOTCAR_ID[_raw] = _ROBOTCAR.get(_name, 0)
    if _name in _MAPILLARY:
        MAPILLARY_ID[_raw], MAPILLARY_PALETTE[_MAPILLARY[_name]] = _MAPILLARY[_name], _colour
