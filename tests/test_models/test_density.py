"""The density of a class at a place and a depth (Depth Distribution spec 2.5, 4, 6.1 and 10)."""

import json
from pathlib import Path

import numpy as np
import plain_depth_distribution as plain
import pytest
import torch

from mmuda.datasets.classes import CLASS_SETS, SYNTHIA_IDS, id_table
from mmuda.datasets.transforms import GridSample
from mmuda.models.density import _TABLES, PUBLISHED, ClassDensity, read_mixtures, write_mixtures
from mmuda.utils.depth import inverse_depth

GOLDEN = Path(__file__).parents[1] / 'golden/depth_distribution'


def load(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / f'{name}.npz'))


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_mixtures_golden(name: str) -> None:
    golden, found = load('constants'), read_mixtures(name)
    assert found.grid == ((41, 81) if name == '7_small' else (96, 161))
    for ours, theirs in zip(found[1:], ('pi', 'mu', 'var'), strict=True):
        assert torch.equal(ours.float(), torch.from_numpy(golden[f'{theirs}_{name}']))
    assert (found.weight.sum(1) - 1).abs().max() <= 1.1e-4


@pytest.mark.parametrize('name', ['16', '7'])
def test_target_density_golden(name: str) -> None:
    golden = {key: torch.from_numpy(value) for key, value in load(f'target_density_{name}').items()}
    density, depth = ClassDensity(name), golden['depth'][None, None]
    classes = golden['class_map'][None].long()
    found = density(classes, depth) * (depth > 0)
    torch.testing.assert_close(found, golden['density'], rtol=0, atol=1e-3)
    assert (found[depth <= 0] == 0).all()
    twice = density(classes.repeat(2, 1, 1), depth.repeat(2, 1, 1, 1))
    assert all(torch.equal(one[None], density(classes, depth)) for one in twice)


def test_target_density_equals_the_plain_form() -> None:
    torch.manual_seed(0)
    mixtures, density = read_mixtures('7_small'), ClassDensity('7_small')
    classes, depth = torch.randint(0, 7, (1, 41, 81)), 60 * torch.randn(1, 1, 41, 81).abs() - 5
    depth[..., ::7] = 1.0
    wanted = plain.target_density(mixtures, classes[0, :16, :30], depth[0, 0, :16, :30])
    found = (density(classes, depth) * (depth > 0)).double()[..., :16, :30]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
    assert (wanted > 100).float().mean() > 0.1


@pytest.mark.parametrize('name', ['16', '7'])
def test_source_density_golden(name: str) -> None:
    raw, golden = load('source_density_inputs'), load(f'source_density_{name}')
    density = ClassDensity(name)
    label = id_table(SYNTHIA_IDS, density.num_classes)[raw['label_u8']]
    sampled = GridSample((161, 96)).transform(dict(gt_seg_map=label, gt_depth_map=raw['depth_u16']))
    grid_label = torch.from_numpy(sampled['grid_label']).long()
    depth = inverse_depth(torch.from_numpy(sampled['grid_depth']))
    classes = torch.arange(density.num_classes)[:, None, None].expand(-1, 96, 161)
    maps = density.probability(classes, (depth * (grid_label == classes))[:, None])[:, 0].numpy()
    kept = golden.get('density_raw_classes', np.arange(density.num_classes))
    np.testing.assert_allclose(maps[kept], golden['density_raw'], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(maps.sum((1, 2), dtype=np.float64), golden['density_raw_sum'], rtol=1e-5)
    np.testing.assert_allclose(maps.max((1, 2)), golden['density_raw_max'], rtol=1e-5)
    np.testing.assert_allclose(plain.mapped(maps.astype(np.float64)).sum((1, 2)), golden['mapped_sum'], rtol=1e-5)

    predicted = torch.from_numpy(golden['lookup_pred']).long()[None]
    found = density(predicted, (depth * (grid_label == predicted))[None])
    np.testing.assert_allclose(found.numpy(), golden['lookup_density'], rtol=0, atol=1e-3)

    oracle = plain.source_maps(read_mixtures(name), label, raw['depth_u16'])
    np.testing.assert_allclose(oracle[kept], golden['density_raw'], rtol=1e-5, atol=1e-12)
    wanted = plain.source_density(oracle, golden['lookup_pred'])
    np.testing.assert_allclose(wanted, golden['lookup_density'][0, 0], rtol=0, atol=1e-3)


@pytest.mark.parametrize(('name', 'rows'), [('16', 40), ('7', 40), ('7_small', 18)])
def test_the_sky_is_where_it_is(name: str, rows: int) -> None:
    density = ClassDensity(name)
    h, w = density.mixtures.grid
    sky = torch.full((1, h, w), 4 if density.num_classes == 7 else 9)
    assert density(sky, torch.ones(1, 1, h, w))[:, :, :rows].min() > 250
    assert density(sky, torch.full((1, 1, h, w), 1.1)).max() < 1e-4


def test_another_grid_lies_over_the_same_image() -> None:
    density = ClassDensity('16')
    depth, classes = 60 * torch.rand(1, 1, 96, 160), torch.randint(0, 16, (1, 96, 160))
    wide = density(classes, depth)  # 160 columns
    narrow = density(classes[:, ::2, ::2], depth[..., ::2, ::2])
    torch.testing.assert_close(narrow, wide[..., ::2, ::2])
    assert density.places[0] == (48, 80)


def test_depth_far_off_has_no_density() -> None:
    density = ClassDensity('16')
    for depth in (-1e6, 1e9, 3e4):
        assert (density(torch.zeros(1, 96, 161, dtype=torch.long), torch.full((1, 1, 96, 161), depth)) == 0).all()


def test_a_written_table_reads_back(tmp_path: Path) -> None:
    components = {'a': [(0.25, [1.5, 2.0, 300.0], [1e-6, 2.0, 3.0]), (0.75, [0.1, 0.2, 0.3], [1.0] * 3)], 'b': []}
    (tmp_path / 'x.json').write_text(write_mixtures((9, 17), components))
    found = read_mixtures(str(tmp_path / 'x.json'))
    assert found.grid == (9, 17)
    assert found.weight.tolist() == [[0.25, 0.75], [0.0, 0.0]]
    assert found.mean[0].tolist() == [[1.5, 2.0, 300.0], [0.1, 0.2, 0.3]]
    density = ClassDensity(str(tmp_path / 'x.json'))
    assert (density(torch.ones(1, 9, 17, dtype=torch.long), torch.ones(1, 1, 9, 17)) == 0).all()  # no component


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{}', 'x.json holds no mixtures'),
        ('{"grid": [9, 17], "mixtures": {"a": [[1, [1, 2], [1, 1, 1]]]}}', 'x.json'),
        ('{"grid": [9, 17], "mixtures": {"a": [[1, [1, 2, 3], [1, 0, 1]]]}}', 'x.json: .* variances be above 0'),
        ('not json', 'x.json holds no mixtures; write them by tools/offline.py fit-density'),
    ],
)
def test_files_that_are_no_table(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_mixtures(str(tmp_path / 'x.json'))


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(
        FileNotFoundError, match='19 is neither a file nor one of the published mixtures 16, 7, 7_small'
    ):
        read_mixtures('19')


def test_the_tables_name_their_classes() -> None:

    for name in PUBLISHED:
        content = json.loads((_TABLES / f'{name}.json').read_text())
        assert tuple(content['mixtures']) == CLASS_SETS[len(content['mixtures'])].names
