"""Tiny data sets in the published layouts, written with real encoders."""

from pathlib import Path

import pytest
from tiny_sets import write_image, write_labels


@pytest.fixture
def gta5(tmp_path) -> Path:
    """GTA5 with 5 images and its own train list of all but the last."""
    home = tmp_path / 'GTA5'
    for number in range(1, 6):
        write_image(home / f'images/{number:05d}.png', number)
        write_labels(home / f'labels/{number:05d}.png', number, palette=True)
    (home / 'gta5_list').mkdir()
    (home / 'gta5_list/train.txt').write_text('1\n00002\n00003.png\n4\n')
    return home


@pytest.fixture
def cityscapes(tmp_path) -> Path:
    """Cityscapes with 3 train and 2 val images, train without labels."""
    home = tmp_path / 'cityscapes'
    for split, count in (('train', 3), ('val', 2)):
        for frame in range(count):
            stem = f'{split}/aachen/aachen_000000_{frame:06d}'
            write_image(home / f'leftImg8bit/{stem}_leftImg8bit.png', frame + 10, (64, 32))
            if split == 'val':
                write_labels(home / f'gtFine/{stem}_gtFine_labelIds.png', frame, (64, 32))
    return home
