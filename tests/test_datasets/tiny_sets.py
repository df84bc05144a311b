"""Writers of tiny images and label files."""

import struct
import zlib
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


def write_rgb16(path: Path, rgb: np.ndarray) -> None:
    """A 16-bit RGB PNG by the standard's own words, so that no library's channel order decides about a test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    h, w = rgb.shape[:2]
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in rgb)
    content = b'\x89PNG\r\n\x1a\n'
    for kind, data in (
        (b'IHDR', struct.pack('>IIBBBBB', w, h, 16, 2, 0, 0, 0)),
        (b'IDAT', zlib.compress(rows)),
        (b'IEND', b''),
    ):
        content += struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    path.write_bytes(content)


def write_red16(path: Path, ids: np.ndarray, instance: int = 300) -> None:
    """A label file as SYNTHIA's: red is the class, green the instance."""
    rgb = np.zeros((*ids.shape, 3), np.uint16)
    rgb[..., 0], rgb[..., 1] = ids, instance
    write_rgb16(path, rgb)
