"""Checkpoints on disk, seeds by iteration, pictures of a step."""

import random
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import BaseVisBackend

from mmuda.engine.hooks import IterationSeedHook, iteration_seed
from mmuda.engine.hooks.pictures import picture_rows
from mmuda.models.data_preprocessor import DomainDataPreprocessor
from mmuda.registry import VISBACKENDS
from mmuda.utils.checkpoint import load_safe


@pytest.fixture
def cfg(load, tmp_path: Path):
    cfg = load('baselines/minicity_source.py')
    cfg.work_dir, cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = str(tmp_path), 5, 2
    return cfg


def test_last_ones_and_the_best_are_kept_and_plain(cfg, tmp_path: Path) -> None:
    cfg.default_hooks.checkpoint.interval = 1
    Runner.from_cfg(cfg).train()
    assert sorted(file.name for file in tmp_path.glob('*.pth*')) == ['best.pth', 'iter_4.pth', 'iter_5.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_5.pth')
    last, best = load_safe(tmp_path / 'iter_5.pth'), load_safe(tmp_path / 'best.pth')
    assert last['meta']['iter'] == 5
    assert last['meta']['dataset_meta']['classes'][0] == 'road'
    assert last['message_hub']['log_scalars']['train/loss'][0].shape == (5,)
    assert 'optimizer' in last
    assert 'optimizer' not in best
    assert best['meta']['iter'] == last['message_hub']['runtime_info']['best_iter']


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_good_one(cfg, tmp_path: Path) -> None:
    cfg.default_hooks.checkpoint.interval, cfg.default_hooks.checkpoint.keep = 1, 1
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    (tmp_path / 'iter_3.pth.part').mkdir()  # whatever keeps the file from being written
    with pytest.raises(OSError, match=r'iter_3\.pth could not be written .* --resume'):
        Runner.from_cfg(cfg).train()
    assert [file.name for file in tmp_path.glob('*.pth')] == ['iter_2.pth']
    assert load_safe(tmp_path / 'iter_2.pth')['meta']['iter'] == 2


def test_an_unknown_score_is_named(cfg) -> None:
    cfg.default_hooks.checkpoint.save_best = 'mIuO'
    message = r"default_hooks\.checkpoint\.save_best='mIuO' is no score of the validation: choose one of mIoU, .*, IoU"
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(cfg).train()


def test_seeds_depend_on_run_and_iteration_alone() -> None:
    def draw(seed: int, iteration: int) -> tuple:
        IterationSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), 0)
        return random.random(), np.random.rand(), float(torch.rand(1))

    first = draw(1, 5)
    torch.rand(3)
    assert draw(1, 5) == first
    assert len({first, draw(1, 6), draw(2, 5)}) == 3


def test_python_draws_alike_on_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(rank: int) -> tuple:
        monkeypatch.setattr(iteration_seed, 'get_rank', lambda: rank)
        IterationSeedHook().before_train_iter(SimpleNamespace(seed=1, iter=5), 0)
        return random.random(), np.random.rand(), float(torch.rand(1))

    first, second = draw(0), draw(1)
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert first[2] != second[2]


@VISBACKENDS.register_module()
class Album(BaseVisBackend):
    """Keeps the pictures that it gets, as TensorBoard's backend does."""

    pictures: dict = {}  # noqa: RUF012
    experiment = _init_env = None

    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        self.pictures[name, step] = image


@pytest.fixture
def edge(load, tmp_path: Path) -> Config:
    """Three iterations of EHTDI's edge variant, which notes most."""
    cfg = load('ehtdi/minicity_edge.py')
    for pipeline in (cfg.train_dataloader.dataset[domain].pipeline for domain in ('source', 'target')):
        next(step for step in pipeline if step['type'] == 'mmuda.WeakStrongCrop')['size'] = (32, 32)
    cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = 3, 3
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = cfg.default_hooks.checkpoint.save_best = None
    return cfg


def trained(cfg: Config, folder: Path, interval: int | None) -> tuple[dict, dict, torch.Tensor]:
    """What training leaves behind: states of model, optimiser and generator."""
    cfg.work_dir, cfg.default_hooks.pictures.interval = str(folder), interval
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model.state_dict(), runner.optim_wrapper.state_dict(), torch.get_rng_state()


def test_pictures_leave_the_training_as_it_is(edge: Config, tmp_path: Path) -> None:
    model, optimizer, generator = trained(edge, tmp_path / 'without', 0)
    assert not (tmp_path / 'without/pictures').exists()
    other_model, other_optimizer, other_generator = trained(edge, tmp_path / 'with', 1)
    assert len(list((tmp_path / 'with/pictures').iterdir())) == 3
    assert all(torch.equal(value, other_model[name]) for name, value in model.items())
    for number, state in optimizer['state'].items():
        assert all(torch.equal(value, other_optimizer['state'][number][name]) for name, value in state.items())
    assert torch.equal(generator, other_generator)


def test_pictures_go_to_the_work_dir_and_to_the_backends(edge: Config, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Album, 'pictures', {})
    edge.visualizer.vis_backends.append(dict(type='Album'))
    trained(edge, tmp_path, None)
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) == ['iter_1.png', 'iter_3.png']
    assert not list(tmp_path.rglob('vis_image'))  # the same picture once more
    written = cv2.imread(str(tmp_path / 'pictures/iter_3.png'))
    assert np.array_equal(Album.pictures['pictures', 3], written[..., ::-1])


def test_pictures_show_the_step(edge: Config, tmp_path: Path) -> None:
    edge.work_dir = str(tmp_path)
    runner = Runner.from_cfg(edge)
    model, batch = runner.model.train(), next(iter(runner.train_dataloader))
    assert model.notes is None
    model.notes = {}
    model.train_step(batch, runner.build_optim_wrapper(edge.optim_wrapper))
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    rows = picture_rows(model, batch, model.notes)
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert all(module.training for module in model.student.modules())

    titles = ['source', 'source label', 'target', 'teacher on target', 'pseudo label', 'calm', 'confidence',
              'all heads on calm', 'mixed', 'border', 'mixed label', 'student on mixed', 'back', 'back label',
              'back border']  # fmt: skip
    assert [list(row) for row in rows] == [titles, titles]
    swapped = {domain: batch[domain] for domain in ('target', 'source')}
    assert 'teacher on target' in picture_rows(model, swapped, {})[0]
    for number, row in enumerate(rows):
        source, target = ({key: value[number] for key, value in batch[domain].items()} for domain in batch)
        images = {key: picture.permute(1, 2, 0).numpy() for key, picture in
                  (('whole', source['image']), ('weak', source['weak']), ('target', target['weak']))}  # fmt: skip
        assert np.array_equal(row['source'], images['whole'])
        assert np.array_equal(row['source label'], source['label'])
        pasted = (row['calm'] == images['weak']).all(-1)
        assert pasted.any()
        assert (pasted | (row['calm'] == images['target']).all(-1)).all()
        truth, pseudo = source['weak_label'].numpy(), row['pseudo label'][target['rows']][:, target['cols']]
        assert ((row['mixed label'] == truth) | (row['mixed label'] == pseudo)).all()
        assert row['border'].dtype == bool
        assert row['student on mixed'].max() < 19
        assert 1 / 19 <= row['confidence'].min() <= row['confidence'].max() <= 1


@pytest.mark.parametrize('order', [{}, {'bgr_to_rgb': True}])
def test_a_normalised_image_looks_as_it_was_read(order: dict) -> None:
    preprocessor = DomainDataPreprocessor(mean=[104.0, 116.7, 122.7], std=[58.0, 57.0, 1.5], **order)
    image = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    found = preprocessor({'source': {'image': image}}, training=True)['source']['image']
    assert torch.equal(preprocessor.picture(found), image)
