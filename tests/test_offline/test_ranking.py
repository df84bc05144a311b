"""The ranking against the reference's numbers, and the whole step on MiniCity (DAF+IDA spec 6 and 10)."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plain_daf_ida as plain
import pytest
import torch
import torch.nn.functional as F
from helpers import SMALL_CITY, contents, die, fresh_model, in_processes, load_golden
from mmengine.config import Config
from PIL import Image

from mmuda.offline import FixedThreshold, rank_images, ranking
from mmuda.offline.predictions import Enlarger, Scores, target_images
from mmuda.registry import MODELS
from mmuda.utils.inference import load_model

RARE = (3, 4, 5, 6, 7, 9, 12, 14, 15, 16, 17)
COUNT = SMALL_CITY['target_train']


# --------------------------------------------------------------------------------------------------------- golden


def up(maps: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(torch.from_numpy(maps)[None], size=size, mode='bilinear', align_corners=True)


@pytest.mark.parametrize(('kind', 'rare'), [('plain', None), ('norm', RARE)])
def test_ranking_golden(kind: str, rare: tuple | None) -> None:
    golden = load_golden('daf_ida', 'depth_aware_ranking')
    assert tuple(golden['rare_class'].tolist()) == RARE
    size, names = tuple(golden['size_hw'].tolist()), golden['names'].tolist()
    scores = {}
    for number in golden['visit_order']:
        logits, depth = up(golden['logits'][number], size), up(golden['depth'][number], size)
        score, label = ranking.score_and_label(logits[0], depth[0, 0], rare)
        scores[names[number]] = float(score)
        oracle, wanted = plain.score_and_label(logits, depth, rare)
        assert oracle == pytest.approx(golden[f'{kind}_scores'][number], rel=1e-5, abs=1e-5)
        assert torch.equal(label.long(), wanted)
        if f'pseudo_label_{number}' in golden:
            assert (label.numpy() != golden[f'pseudo_label_{number}']).mean() <= 1e-5
    wanted = golden[f'{kind}_scores']
    np.testing.assert_allclose([scores[name] for name in names], wanted, rtol=1e-5, atol=1e-12)
    for ratio in (0.66, 0.67, 0.5):
        easy, hard = ranking.split(scores, ratio)
        assert easy == golden[f'{kind}_easy_{ratio}'].tolist()
        assert hard == golden[f'{kind}_hard_{ratio}'].tolist()


def test_sizes_of_the_split_golden() -> None:
    scores = {str(number): float(number) for number in range(2975)}
    for ratio, easy, hard in load_golden('daf_ida', 'depth_aware_ranking')['split_sizes_2975'].tolist():
        assert [len(part) for part in ranking.split(scores, ratio)] == [easy, hard]


@pytest.mark.parametrize(('threshold', 'name'), [(0.9, 'pseudo_label'), (0.5, 'pseudo_label_thr05')])
def test_labels_of_isl_golden(threshold: float, name: str) -> None:
    golden = load_golden('daf_ida', 'isl_pseudo_labels')
    size = tuple(golden['size_hw'].tolist())
    selector = FixedThreshold(threshold=threshold, at='network')
    for number, logits in enumerate(torch.from_numpy(golden['logits'])):
        scores = Scores(number, logits[None], size, (2 * size[0], 2 * size[1]), Enlarger(align_corners=True))
        label, wanted = selector.select(scores)[0].numpy(), golden[name][number]
        clear = np.abs(golden['max_prob'][number] - threshold) > 1e-6
        assert np.array_equal(label[clear], wanted[clear])
        if name == 'pseudo_label' and number == 3:  # exactly float32(0.9) is enough
            assert (golden['max_prob'][number] == np.float32(0.9)).any()
            assert np.array_equal(label, wanted)


# ------------------------------------------------------------------------------------------------- the whole step


@pytest.fixture
def cfg(load: Callable[..., Config]) -> Config:
    """Self-training with depth on the small city: input 32x64, images 64x128."""
    return load('daf_ida/minicity_stage2_isl.py', **{'test_pipeline.1.scale': (64, 32)})


@pytest.fixture
def checkpoint(cfg: Config, tmp_path: Path) -> Path:
    model = fresh_model(cfg)
    for conv in (*model.student.decode_head.convs, model.student.neck.conv_depth):
        conv.weight.data *= 20
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


def test_the_step_equals_the_plain_form(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    done = rank_images(cfg, checkpoint, tmp_path / 'out', ratio=0.7, num_workers=0)
    model, wanted = load_model(cfg, checkpoint), {}
    dataset = target_images(cfg)
    for number, item in enumerate(dataset):
        data = model.data_preprocessor({'inputs': [item['inputs']], 'data_samples': [item['data_samples']]})
        with torch.no_grad():
            *features, depth = model.student.extract_feat(data['inputs'])
            logits = model.student.decode_head(features)
        maps = [F.interpolate(x, size=(32, 64), mode='bilinear', align_corners=True) for x in (logits, depth)]
        image = dataset.get_data_info(number)['image']
        wanted[image], label = plain.score_and_label(*maps)
        assert np.array_equal(np.asarray(Image.open(tmp_path / 'out' / image)), label.numpy())
    assert list(done['scores']) == list(wanted)
    assert list(done['scores'].values()) == pytest.approx(list(wanted.values()), rel=1e-5, abs=1e-9)
    ranked = sorted(wanted, key=wanted.__getitem__)
    lists = [(tmp_path / 'out' / name).read_text().splitlines() for name in (ranking.EASY, ranking.HARD)]
    assert lists == [ranked[:5], ranked[5:]]
    assert (done['kind'], done['count'], done['ratio']) == ('ranking', COUNT + 2, 0.7)
    assert not (tmp_path / 'out/unfinished').exists()


def test_a_killed_step_goes_on(cfg: Config, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank_images(cfg, checkpoint, tmp_path / 'whole', num_workers=0)

    def half() -> None:
        plain_write, written = ranking.write_label, []

        def write(path: Path, label: torch.Tensor) -> None:
            if len(written) == COUNT // 2:
                os.kill(os.getpid(), signal.SIGKILL)
            written.append(plain_write(path, label))

        ranking.write_label = write
        rank_images(cfg, checkpoint, tmp_path / 'killed', num_workers=0)

    die(half)
    assert not (tmp_path / 'killed/manifest.json').exists()
    seen = []
    score = ranking.score_and_label
    monkeypatch.setattr(ranking, 'score_and_label', lambda *args: seen.append(1) or score(*args))
    rank_images(cfg, checkpoint, tmp_path / 'killed', num_workers=0)
    assert 0 < len(seen) < COUNT
    assert contents(tmp_path / 'killed') == contents(tmp_path / 'whole')
    rank_images(cfg, checkpoint, tmp_path / 'killed', num_workers=0)  # finished
    assert len(seen) < COUNT


def test_another_job_does_not_use_the_folder(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    rank_images(cfg, checkpoint, tmp_path / 'out', num_workers=0)
    with pytest.raises(ValueError, match='holds ranking of another ratio'):
        rank_images(cfg, checkpoint, tmp_path / 'out', ratio=0.5, num_workers=0)
    with pytest.raises(ValueError, match=r'ratio=1\.5: give a share'):
        rank_images(cfg, checkpoint, tmp_path / 'other', ratio=1.5)


def test_a_wrong_checkpoint_is_not_in_the_way_of_the_right_one(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    torch.save({'state_dict': {'encoder.weight': torch.zeros(3)}}, tmp_path / 'wrong.pth')
    with pytest.raises(ValueError, match='no weights of a segmentation network found'):
        rank_images(cfg, tmp_path / 'wrong.pth', tmp_path / 'out', num_workers=0)
    assert rank_images(cfg, checkpoint, tmp_path / 'out', num_workers=0)['count'] == COUNT + 2


def test_classes_that_differ(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    cfg.train_dataloader.dataset.target.classes = 13
    with pytest.raises(ValueError, match=r'the network has \d+ classes, the target data set 13: give the data set'):
        rank_images(cfg, checkpoint, tmp_path / 'out', num_workers=0)
    assert not (tmp_path / 'out').exists()


def test_a_list_decides_what_is_easy(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    free = rank_images(cfg, checkpoint, tmp_path / 'free', num_workers=0)
    images = sorted(free['scores'], key=free['scores'].__getitem__)
    (tmp_path / 'mine.txt').write_text(f'{images[-1]}\n{images[0]}\n')
    rank_images(cfg, checkpoint, tmp_path / 'out', easy_list=str(tmp_path / 'mine.txt'), num_workers=0)
    assert (tmp_path / 'out' / ranking.EASY).read_text().splitlines() == [images[0], images[-1]]
    assert (tmp_path / 'out' / ranking.HARD).read_text().splitlines() == images[1:-1]
    for domain in (ranking.EASY, ranking.HARD):  # a training set reads them
        found = target_images(cfg, split=str(tmp_path / 'out' / domain), label_dir=str(tmp_path / 'out'))
        lines = (tmp_path / 'out' / domain).read_text().splitlines()
        assert [found.get_data_info(number)['image'] for number in range(len(found))] == lines


def test_two_processes_write_the_same(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    rank_images(cfg, checkpoint, tmp_path / 'one', num_workers=0)
    in_processes(lambda _: rank_images(cfg, checkpoint, tmp_path / 'two', num_workers=0), tmp_path / 'meet')
    assert contents(tmp_path / 'two') == contents(tmp_path / 'one')


def test_a_network_without_depth_is_an_error(load: Callable[..., Config], tmp_path: Path) -> None:
    cfg = load('baselines/minicity_advent.py')
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='predicts no depth'):
        rank_images(cfg, tmp_path / 'weights.pth', tmp_path / 'out', num_workers=0)


def test_the_manifest_holds_every_score(cfg: Config, checkpoint: Path, tmp_path: Path) -> None:
    rank_images(cfg, checkpoint, tmp_path / 'out', rare_classes=RARE, num_workers=0)
    found = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert found['rare_classes'] == list(RARE)
    assert len(found['scores']) == COUNT
