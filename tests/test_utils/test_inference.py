"""Trained networks on image files, and sheets of several."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import fresh_model, save_network
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmuda.registry import DATASETS
from mmuda.utils.inference import Predictor, check_same_classes, comparison, load_model, val_items


@pytest.fixture
def cfg(load) -> Config:
    return load('baselines/minicity_source.py')


@pytest.fixture
def predictor(cfg: Config, tmp_path: Path) -> Predictor:
    return Predictor(cfg, save_network(cfg, tmp_path)[1])


def test_a_prediction_has_the_size_of_the_file_whatever_the_network_sees(
    cfg: Config, predictor: Predictor, tmp_path: Path
) -> None:
    [item] = val_items(cfg, 1)
    wide = predictor(item['img_path'])
    assert wide.label.shape == wide.confidence.shape == (64, 128)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)  # the pipeline of validation, at the size of the file
    with torch.no_grad():
        [sample] = predictor.model.test_step(pseudo_collate([dataset[0]]))
    cfg.merge_from_dict({'test_pipeline.1.scale': (128, 64)})
    same = Predictor(cfg, tmp_path / 'network.pth')(item['img_path'])
    assert np.array_equal(same.label, sample.pred_sem_seg.data[0])
    probabilities = torch.softmax(sample.seg_logits.data, 0)
    np.testing.assert_allclose(same.confidence, probabilities.amax(0), rtol=1e-6)


def test_images_of_the_validation_set_are_spread(cfg: Config) -> None:
    names = [item['name'] for item in val_items(cfg)]
    assert [item['name'] for item in val_items(cfg, 2)] == [names[0], names[-1]]
    assert [item['name'] for item in val_items(cfg, 99)] == names


def test_comparison_shows_truth_prediction_and_errors(cfg: Config, predictor: Predictor) -> None:
    items, networks = val_items(cfg, 2), {'one': predictor, 'two': predictor}
    bare = comparison({'one': predictor}, [{'img_path': items[0]['img_path']}])
    with_truth, with_errors = comparison(networks, items), comparison(networks, items, errors=True)
    assert [page.shape[1] for page in (bare, with_truth)] == [2 * 512 + 18, 4 * 512 + 30]  # columns side by side
    assert with_truth.shape[0] == comparison(networks, items[:1]).shape[0] + 256 + 6  # a row for each image
    red = [(page == (0, 0, 255)).all(-1).mean() for page in (with_truth, with_errors)]
    assert red[1] > red[0] + 0.1  # a fresh network is not the truth


def test_networks_of_other_classes_cannot_be_compared(cfg: Config, predictor: Predictor, tmp_path: Path) -> None:
    for head in ('decode_head', 'auxiliary_head'):
        cfg.model.student[head].num_classes = 16
    other = Predictor(cfg, save_network(cfg, tmp_path)[1])
    with pytest.raises(ValueError, match=r'one has 19 .*two has 16'):
        check_same_classes({'one': predictor, 'two': other})
    check_same_classes({'one': predictor, 'two': predictor})


def test_a_plain_network_serves_a_config_whose_training_needs_more(load, tmp_path: Path) -> None:
    cfg = load('baselines/minicity_advent.py')
    model = fresh_model(cfg)
    torch.save(model.student.state_dict(), tmp_path / 'plain.pth')
    found = load_model(cfg, tmp_path / 'plain.pth')
    assert not found.training
    wanted = model.student.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in found.network.state_dict().items())
    less = {key: value for key, value in wanted.items() if 'convs.1.' not in key}
    torch.save(less, tmp_path / 'less.pth')
    with pytest.raises(ValueError, match=r'less\.pth does not fit .*: only one of them has .*convs\.1'):
        load_model(cfg, tmp_path / 'less.pth')


def test_a_checkpoint_that_does_not_fit_is_named(load, cfg: Config, predictor: Predictor, tmp_path: Path) -> None:
    cfg.merge_from_dict({'model.student.backbone.base_channels': 8, 'model.student.backbone.stem_channels': 8})
    with pytest.raises(ValueError, match=r'network\.pth does not fit .*minicity_source\.py.*model\.student'):
        Predictor(cfg, tmp_path / 'network.pth')
    state = predictor.model.state_dict()
    state.pop('student.decode_head.convs.0.bias')
    torch.save(state, tmp_path / 'less.pth')
    with pytest.raises(ValueError, match=r'less\.pth does not fit .*: only one of them has student\.decode_head'):
        Predictor(load('baselines/minicity_source.py'), tmp_path / 'less.pth')
    cfg.pop('test_pipeline')
    with pytest.raises(ValueError, match='has no test_pipeline'):
        Predictor(cfg, tmp_path / 'network.pth')
