"""From a config's recipe and the command line to stages, and every mistake on the way."""

from pathlib import Path

import pytest
from helpers import ROOT

from mmuda.engine.recipe import Recipe
from mmuda.engine.recipe_file import stage_seed
from mmuda.engine.stages import RecipeError
from mmuda.registry import MODELS

CONFIG = ROOT / 'configs/ehtdi/minicity.py'


def test_seeds_depend_on_run_and_name_alone() -> None:
    assert stage_seed(0, 'source') == stage_seed(0, 'source')
    assert len({stage_seed(0, 'source'), stage_seed(1, 'source'), stage_seed(0, 'ehtdi')}) == 3


def test_a_setting_can_be_added_to_one_stage(options: dict, tmp_path: Path) -> None:
    settings = {**options, 'source:model.aux_weight': 0.1, 'source:model.student.init_cfg.type': 'Pretrained'}
    source, _ = Recipe.load(CONFIG, tmp_path, options=settings).stages
    assert source.cfg.model.aux_weight == 0.1
    assert source.cfg.model.student.init_cfg.type == 'Pretrained'


def test_options_reach_every_stage_that_has_them(options: dict, tmp_path: Path) -> None:
    settings = {**options, 'train_cfg.max_iters': 7, 'ehtdi:model.confidence': 0.5, 'model.teacher.momentum': 0.3}
    source, ehtdi = Recipe.load(CONFIG, tmp_path, options=settings).stages
    assert source.cfg.train_cfg.max_iters == ehtdi.cfg.train_cfg.max_iters == 7
    assert (ehtdi.cfg.model.confidence, ehtdi.cfg.model.teacher.momentum) == (0.5, 0.3)
    assert 'teacher' not in source.cfg.model


@pytest.mark.parametrize('name', ['ldbe/minicity.py', 'daf_ida/minicity.py', 'hiast/minicity.py'])
def test_every_training_has_the_precision_and_labels_are_made_in_fp32(options: dict, tmp_path: Path, name: str) -> None:
    found = {}
    for stage in Recipe.load(ROOT / 'configs' / name, tmp_path, precision='bf16').stages:
        model = MODELS.build(stage.cfg.model)
        found.setdefault(stage.kind == 'Train', set()).add(model.precision)
    assert found == {True: {'bf16'}, False: {'fp32'}}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'options': {'model.no_such': 1}}, r'no stage has this setting; STAGE:model.no_such'),
        ({'options': {'randomness.seed': 1}}, r'randomness is not taken from here; use --seed'),
        ({'options': {'load_from': 'x'}}, r'use STAGE:load_from=FILE'),
        ({'options': {'ehtdi:load_from': 'x'}}, r"ehtdi:load_from='x' is neither an earlier stage nor a file"),
        ({'options': {'third:model.confidence': 1}}, r"no stage 'third'; stages: source, ehtdi"),
        ({'init': {'third': 'x.pth'}}, r"no stage 'third'"),
        ({'init': {'source': 'x.pth'}}, r'source=x.pth: no such file'),
        ({'from_stage': 'third'}, r'--from-stage third: there is no such stage; stages: source, ehtdi'),
        ({'from_stage': 'ehtdi', 'until_stage': 'source'}, r'--from-stage ehtdi comes after --until-stage source'),
        ({'from_stage': 'ehtdi'}, r'--from-stage ehtdi needs stage source, which is not done \(not yet run\)'),
    ],
)
def test_mistakes_on_the_command_line(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.load(CONFIG, tmp_path, **settings).plan()


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        ("dict(name='a.b')", "a name of its own, of letters, digits, - and _; got 'a.b'"),
        ("dict(name='a'), dict(name='a')", "a name of its own, .*; got 'a'"),
        ("dict(type='Trian', name='a')", "stage a has type='Trian'; there are Train"),
        ("dict(name='a', config='gone.py')", 'gone.py, which does not exist'),
        ("dict(name='a', lod_from='x')", r"unknown keys \['lod_from'\]"),
        ("dict(name='a', load_from='b.last')", "load_from='b.last' is neither an earlier stage nor a file"),
        (
            "dict(name='a'), dict(name='b', load_from='a.first')",
            "load_from='a.first' takes last or best; stage a hands",
        ),
        ("dict(name='a'), dict(name='b', labels='a')", "labels='a' takes folder; stage a hands over last and best"),
        ("dict(name='a', options={'model.no_such': 1})", 'options of stage a: model.no_such is no setting of .*c.py'),
        ("dict(name='a', options={'randomness.seed': 1})", 'randomness is not taken from here; use seed='),
        ("dict(name='a', mixtures='x')", "mixtures='x' is neither an earlier stage nor a file"),
        ("dict(name='a'), dict(name='b', continues='a.best')", "continues='a.best' takes last"),
        (
            "dict(name='a'), dict(name='b', continues='a')",
            'continues a from iteration 1200 on: .*max_iters=1200 has to be larger',
        ),
        ("dict(name='a'), dict(name='b', continues='a', seed=1)", 'continues a, so it has its seed: leave seed out'),
        (
            "dict(name='a'), dict(name='b', continues='a', carry=['teacher'], load_from='a.last')",
            'continues takes everything over, so leave out load_from and carry',
        ),
        (
            "dict(name='a'), dict(name='b', continues='a', options={'optim_wrapper.optimizer.lr': 1})",
            'so both need the same optim_wrapper',
        ),
    ],
)
def test_mistakes_in_a_recipe(entries: str, message: str, tmp_path: Path) -> None:
    (tmp_path / 'c.py').write_text(f"_base_ = '{CONFIG}'\nrecipe = [{entries}]\n")
    with pytest.raises(RecipeError, match=message):
        Recipe.load(tmp_path / 'c.py', tmp_path / 'run')
