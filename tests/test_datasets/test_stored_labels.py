"""Training labels from a folder of train ids instead of the data set's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmuda.datasets import CityscapesDataset, LoadImage, LoadLabels, SYNTHIADataset
from mmuda.datasets.base import stored_label

LOAD = [LoadImage(), LoadLabels()]


@pytest.fixture
def stored(cityscapes: Path, tmp_path: Path) -> dict[Path, np.ndarray]:
    """A label for each of the three train images."""
    labels = {}
    for frame in range(3):
        path = tmp_path / f'labels/train/aachen/aachen_000000_{frame:06d}_leftImg8bit.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        labels[path] = np.random.RandomState(frame).choice([0, 7, 18, 255], (32, 64)).astype(np.uint8)
        Image.fromarray(labels[path]).save(path)
    return labels


def dataset(cityscapes: Path, tmp_path: Path, **settings: object) -> CityscapesDataset:
    settings = {'label_dir': str(tmp_path / 'labels'), 'with_labels': False, 'pipeline': LOAD, **settings}
    return CityscapesDataset(data_root=str(cityscapes), split='train', **settings)


@pytest.mark.parametrize('with_labels', [False, True])
def test_ids_are_taken_as_they_are(with_labels: bool, cityscapes: Path, stored: dict, tmp_path: Path) -> None:
    """The train images of this set have no labels of their own: nothing looks for them."""
    items = dataset(cityscapes, tmp_path, with_labels=with_labels)
    for index, (path, label) in enumerate(stored.items()):
        assert items[index]['seg_map_path'] == str(path)
        assert np.array_equal(items[index]['gt_seg_map'], label)


def test_a_missing_file(cityscapes: Path, stored: dict, tmp_path: Path) -> None:
    list(stored)[1].unlink()
    with pytest.raises(FileNotFoundError, match=r'aachen_000000_000001_leftImg8bit\.png: missing, .*label_dir'):
        dataset(cityscapes, tmp_path)
    with pytest.raises(FileNotFoundError, match=r'nowhere/train/.* and 2 more: missing'):
        dataset(cityscapes, tmp_path, label_dir=str(tmp_path / 'nowhere'))


@pytest.mark.parametrize(('indices', 'taken'), [(2, [0, 1]), (-2, [1, 2]), ([2, 0], [2, 0])])
def test_only_images_that_are_taken_need_one(
    indices: int | list[int], taken: list[int], cityscapes: Path, stored: dict, tmp_path: Path
) -> None:
    """Whoever writes the labels of so many images writes no others."""
    paths = list(stored)
    for number in {0, 1, 2}.difference(taken):
        paths[number].unlink()
    items = dataset(cityscapes, tmp_path, indices=indices)
    assert [item['seg_map_path'] for item in items] == [str(paths[number]) for number in taken]
    paths[taken[1]].unlink()
    with pytest.raises(FileNotFoundError, match=f'{paths[taken[1]]}: missing'):
        dataset(cityscapes, tmp_path, indices=indices)


def test_a_wrong_size(cityscapes: Path, stored: dict, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(list(stored)[2])
    with pytest.raises(ValueError, match=r'000002_leftImg8bit\.png: the label is 32x16, its image .* 64x32'):
        dataset(cityscapes, tmp_path)[2]


def test_ids_that_are_no_class(cityscapes: Path, stored: dict, tmp_path: Path) -> None:
    assert (next(iter(stored.values())) == 18).any()
    with pytest.raises(ValueError, match=r'000000_leftImg8bit\.png: holds the id 18, .*none of the 16 classes'):
        dataset(cityscapes, tmp_path, classes=16)[0]


def test_a_truncated_file(cityscapes: Path, stored: dict, tmp_path: Path) -> None:
    path = next(iter(stored))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=f'{path}: empty, broken or cut-off label file'):
        dataset(cityscapes, tmp_path)[0]


def test_the_decoder_of_another_data_set_has_no_say(tmp_path: Path) -> None:
    """SYNTHIA's own labels are 16-bit pictures; stored ones never are."""
    for folder, size in (('data/SYNTHIA/RGB', (4, 6, 3)), ('labels', (4, 6))):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(np.full(size, 3, np.uint8)).save(tmp_path / folder / '0000000.png')
    items = SYNTHIADataset(
        data_root=str(tmp_path / 'data'), split=None, classes=16, pipeline=LOAD, label_dir=str(tmp_path / 'labels')
    )
    assert (items[0]['gt_seg_map'] == 3).all()


def test_other_kinds_of_images_have_png_labels() -> None:
    assert stored_label('train/images/a.b.jpg') == 'train/images/a.b.png'
