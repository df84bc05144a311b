"""Writers of tiny images and label files."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

RAW_IDS = np.array([0, 7, 8, 11, 17, 21, 22, 23, 24, 26, 33, 255], np.uint8)


def write_image(path: Path, seed: int, size=(48, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    w, h = size
    path.write_bytes(cv2.imencode('.png', np.random.RandomState(seed).randint(0, 256, (h, w, 3), np.uint8))[1])


def write_labels(path: Path, seed: int, size=(48, 32), palette=False) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    w, h = size
    ids = RAW_IDS[np.random.RandomState(seed).randint(0, len(RAW_IDS), (h, w))]
    picture = Image.fromarray(ids)
    if palette:
        picture.putpalette(np.random.RandomState(0).randint(0, 256, 768).astype(np.uint8).tobytes())
    picture.save(path)
    return ids
