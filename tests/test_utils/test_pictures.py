"""Drawings, sheets of them, and files that are whole."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmuda.datasets.classes import metainfo
from mmuda.utils.files import write_whole
from mmuda.utils.pictures import colour_labels, draw, encode_palette, mistakes, overlay, sheet

META = metainfo(19)
PALETTE = META['palette']


def test_labels_get_their_colour_and_ignore_is_black() -> None:
    found = colour_labels(np.array([[0, 1, 255]], np.uint8), [(128, 64, 128), (244, 35, 232)])
    assert found.tolist() == [[[128, 64, 128], [232, 35, 244], [0, 0, 0]]]  # BGR


def test_palette_png_keeps_the_ids() -> None:
    label = np.random.default_rng(0).choice([*range(19), 255], (20, 30)).astype(np.uint8)
    picture = Image.open(BytesIO(encode_palette(label, PALETTE)))
    assert picture.mode == 'P'
    assert np.array_equal(np.asarray(picture), label)
    assert np.array_equal(np.asarray(picture.convert('RGB')), colour_labels(label, PALETTE)[..., ::-1])


def test_overlay_is_half_image_half_colour() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    assert overlay(image, np.zeros((2, 2), np.uint8), PALETTE)[0, 0].tolist() == [114, 82, 114]  # road


def test_mistakes_are_red_and_what_is_not_scored_is_black() -> None:
    predicted, truth = np.array([[0, 1, 2]], np.uint8), np.array([[0, 2, 255]], np.uint8)
    found = mistakes(np.full((1, 3, 3), 40, np.uint8), predicted, truth)
    assert found.tolist() == [[[148, 148, 148], [0, 0, 255], [0, 0, 0]]]


def test_arrays_are_drawn_as_their_type_says() -> None:
    label = np.repeat([[0], [18]], 40, 0).repeat(40, 1)  # int64
    colours = {tuple(colour) for colour in draw(label, PALETTE, 30).reshape(-1, 3).tolist()}
    assert colours == {(128, 64, 128), (32, 11, 119)}  # no mixture of the two
    line = np.zeros((90, 90), bool)
    line[:, 44] = True
    shrunk = draw(line, PALETTE, 30)
    assert shrunk.shape == (30, 30, 3)
    assert (shrunk == 255).all(-1).sum(1).tolist() == [1] * 30
    assert (draw(line, PALETTE, 180) == 255).all(-1).sum() == 2 * 180
    low, high = draw(np.zeros((4, 8), np.float32), PALETTE, 4), draw(np.full((4, 8), 1.5, np.float32), PALETTE, 4)
    assert low.shape == (4, 8, 3)
    assert low[0, 0].tolist() == [84, 1, 68]  # the ends of viridis
    assert high[0, 0].tolist() == [37, 231, 253]


def test_a_sheet_keeps_every_picture_whole() -> None:
    rows = [{name: np.full((200, 1000, 3), (40, row, column), np.uint8) for column, name in enumerate('abcd')}
            for row in range(2)]  # fmt: skip
    found, height = sheet(rows, META, 128), 208  # at which two of them are 2086 wide
    tops = {}
    for row in range(2):
        for column in range(4):
            place = np.argwhere((found == (40, row, column)).all(-1))
            assert tuple(np.ptp(place, axis=0) + 1) == (height, 5 * height)
            assert len(place) == 5 * height**2
            tops[row, column] = place[0][0]
    assert tops[0, 0] == tops[0, 1] < tops[1, 0] == tops[1, 1] < tops[0, 2] == tops[0, 3]  # two lines of two columns


def test_pictures_are_larger_where_there_is_room() -> None:
    assert sheet([{'a': np.full((128, 256, 3), 7, np.uint8)}], META, 128).shape[0] > 256


def test_the_legend_has_what_the_sheet_shows() -> None:
    def explains(array: np.ndarray) -> list[bool]:
        page = sheet([{'a': array}], META, 128)
        return [(page[-40:] == colour).all(-1).any() for colour in ((128, 64, 128), (37, 231, 253))]

    assert explains(np.zeros((128, 999, 3), np.uint8)) == [False, False]
    assert explains(np.full((128, 999), 255)) == [True, False]  # road is explained
    assert explains(np.zeros((128, 999))) == [False, True]  # and what yellow means


def test_titles_too_long_are_cut() -> None:
    page = sheet([{'a title of many words ' * 9: np.full((128, 128, 3), 7, np.uint8)}], META, 128)
    assert page.shape[1] < 300


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / 'folder/file'
    write_whole(file, 'old')
    (tmp_path / 'folder/file.part').mkdir()  # whatever keeps the new one from being written
    with pytest.raises(OSError, match=r'folder/file could not be written \(Is a directory\)'):
        write_whole(file, b'new')
    assert file.read_text() == 'old'
    (tmp_path / 'folder/file.part').rmdir()
    write_whole(file, b'new')
    assert [path.name for path in file.parent.iterdir()] == ['file']
    assert file.read_bytes() == b'new'


def test_odd_pictures_have_their_place() -> None:
    wide = sheet([{name: np.full((100, 2500, 3), 7, np.uint8) for name in 'ab'}], META, 100)
    assert (wide == 7).all(-1).sum() == 2 * 100 * 2500
    narrow = sheet([{'label': np.zeros((100, 4), np.uint8), 'values': np.zeros((100, 4))}], META, 100)
    assert (narrow == (84, 1, 68)).all(-1).any()
