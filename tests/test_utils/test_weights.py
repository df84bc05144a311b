"""Foreign weights by our names, and checkpoints that would run code (EHTDI spec 3.2, 10 point 23; STACK 3.1)."""

import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import save_network
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mmuda.datasets.classes import CLASS_SETS
from mmuda.models.backbones import CeilResNet
from mmuda.models.discriminators import FCDiscriminator
from mmuda.models.heads import SummedASPPHead
from mmuda.models.necks.depth_guide import logits_and_depth
from mmuda.registry import MODELS
from mmuda.utils.checkpoint import NUMPY_SCALARS, install_safe_loader, load_from_http, load_safe
from mmuda.utils.weights import adapt_state, network_state, number_of_classes, rows_kept, slice_classes, start_state

NAMES = {size: one.names for size, one in CLASS_SETS.items()}

ROOT = Path(__file__).parents[2]
S16 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]


def port(classes=19, prefix=''):
    """A small state dict in the key names of the DeepLab-v2 ports."""
    torch.manual_seed(0)
    state = {'conv1.weight': torch.randn(4, 3, 7, 7), 'bn1.running_mean': torch.randn(4)}
    state['layer3.0.downsample.0.weight'] = torch.randn(8, 4, 1, 1)
    for layer, channels in ((5, 4), (6, 8)):
        for branch in range(4):
            state[f'layer{layer}.conv2d_list.{branch}.weight'] = torch.randn(classes, channels, 3, 3)
            state[f'layer{layer}.conv2d_list.{branch}.bias'] = torch.randn(classes)
    return {prefix + key: value for key, value in state.items()}


OURS = {
    'conv1.weight': 'backbone.conv1.weight',
    'bn1.running_mean': 'backbone.bn1.running_mean',
    'layer3.0.downsample.0.weight': 'backbone.layer3.0.downsample.0.weight',
    **{
        f'layer{layer}.conv2d_list.{branch}.{kind}': f'{head}.convs.{branch}.{kind}'
        for layer, head in ((5, 'auxiliary_head'), (6, 'decode_head'))
        for branch in range(4)
        for kind in ('weight', 'bias')
    },
}


def same(state, expected):
    assert set(state) == set(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)


# ---------------------------------------------------------------------------------------------------- key layouts


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('wrap', [dict, lambda state: {'state_dict': state, 'epoch': 3}], ids=['flat', 'state_dict'])
def test_port(prefix, wrap):
    found = network_state(wrap(port(prefix=prefix)))
    same(found.state, {OURS[key]: value for key, value in port().items()})
    assert found.dropped == []


@pytest.mark.parametrize(('prefer', 'value'), [('ema', 2.0), ('student', 1.0)])
def test_port_with_average(prefer, value):
    dead = {'proto_classifier.weight': torch.ones(1), 'para': torch.ones(1), 'fuse_weight_1': torch.ones(1)}
    entries = {
        entry: {key: torch.full_like(weight, fill) for key, weight in (port() | dead).items()}
        for entry, fill in (('state_dict', 1.0), ('shadow', 2.0))
    }
    found = network_state(entries, prefer)
    assert {weight.flatten()[0].item() for weight in found.state.values()} == {value}
    assert found.dropped == list(dead)


def test_start_file_loses_its_21_class_head():
    state = {key: value for key, value in port(21, prefix='Scale.').items() if 'layer6' not in key}
    found = network_state(state)
    assert set(found.state) == {name for name in OURS.values() if name.startswith('backbone.')}
    assert len(found.dropped) == 8
    assert all(key.startswith('Scale.layer5.') for key in found.dropped)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_port_with_one_head(prefix):
    """Every key of the published R-101 file of LDBE; the tensors are as small as their place allows."""
    golden = np.load(ROOT / 'tests/golden/ldbe/12_deeplab_tiny.npz')
    shapes = dict(zip(golden['r101_keys'].tolist(), golden['r101_shapes'].tolist(), strict=True))
    state = {prefix + key: torch.empty([int(n) for n in s.split('x') if n], device='meta') for key, s in shapes.items()}
    found = network_state(state)
    with torch.device('meta'):
        backbone = CeilResNet(101, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), style='caffe')
        head = SummedASPPHead(2048, 19, active_branches=4)
    wanted = {f'backbone.{key}': value.shape for key, value in backbone.state_dict().items()}
    wanted |= {f'decode_head.{key}': value.shape for key, value in head.state_dict().items()}
    assert {key: value.shape for key, value in found.state.items()} == wanted
    assert len(state) == 640
    assert len(found.dropped) == 8
    assert all(key.startswith('layer6.') for key in found.dropped)
    without = {key: value for key, value in state.items() if 'layer6' not in key}
    assert network_state(without).state.keys() == found.state.keys()


def test_wrapped_state_with_both_heads_under_scale():
    found = network_state(port(prefix='module.Scale.'))
    assert number_of_classes(found.state) == 19
    assert all(key.startswith(('backbone.', 'decode_head.')) for key in found.state)


@pytest.mark.parametrize(('prefer', 'expected'), [('ema', 2.0), ('student', 1.0)])
def test_our_own_checkpoint(prefer, expected):
    state = {
        'data_preprocessor.mean': torch.zeros(3),
        'student.backbone.conv1.weight': torch.tensor(1.0),
        'teacher.model.backbone.conv1.weight': torch.tensor(2.0),
        'teacher._extra_state': torch.tensor(7),
    }
    found = network_state({'state_dict': state, 'meta': {}}, prefer)
    same(found.state, {'backbone.conv1.weight': torch.tensor(expected)})
    assert 'teacher._extra_state' in found.dropped


def test_mmseg_checkpoint():
    state = {
        'backbone.stem.0.weight': torch.ones(1),
        'decode_head.conv_seg.bias': torch.ones(19),
        'neck.x': torch.ones(1),
        'extra.x': torch.ones(1),
    }
    found = network_state(state)
    same(found.state, {key: value for key, value in state.items() if key != 'extra.x'})
    assert found.dropped == ['extra.x']


def test_foreign_keys_are_an_error():
    with pytest.raises(ValueError, match=r'encoder\.weight.*neither ours'):
        network_state({'state_dict': {'encoder.weight': torch.ones(1)}})
    with pytest.raises(ValueError, match='holds a list'):
        network_state([torch.ones(1)])
    with pytest.raises(ValueError, match='mean'):
        network_state(port(), 'mean')


def test_classes_are_sliced_in_both_heads_and_all_branches():
    state = network_state(port()).state
    assert rows_kept(NAMES[19], NAMES[16]) == S16
    sliced = slice_classes(state, S16)
    for key, value in state.items():
        kept = value[S16] if key.startswith(('decode_head.', 'auxiliary_head.')) else value
        assert torch.equal(sliced[key], kept), key
    assert number_of_classes(sliced) == 16
    with pytest.raises(ValueError, match='has 16 classes'):
        slice_classes(sliced, S16)


def test_rows_go_by_names_not_by_numbers():
    assert rows_kept(['sky', 'road', 'car'], ['road', 'sky']) == [1, 0]
    for have, want in ((NAMES[19], NAMES[7]), (NAMES[16], NAMES[19]), (['Road', *NAMES[19][1:]], NAMES[16])):
        with pytest.raises(ValueError, match=r'lacks .* wanted: .* call them alike'):
            rows_kept(have, want)


# Layout -> its network, and the published name of each of ours. Depth and width of the backbone change no name.
PUBLISHED = {
    'ehtdi': (
        ('auxiliary_head',),
        {'decode_head.convs': 'layer6.conv2d_list', 'auxiliary_head.convs': 'layer5.conv2d_list'},
    ),
    'ldbe': ((), {'decode_head.convs': 'layer5.conv2d_list'}),
    'daf_ida': (
        ('neck',),
        {
            'decode_head.convs': 'layer6.conv2d_list',
            **{f'neck.attentions.{i}.fc1': f'att{i + 1}.1' for i in range(4)},
            **{f'neck.attentions.{i}.fc2': f'att{i + 1}.3' for i in range(4)},
            **{f'neck.up_projs.{i}.{part}': f'up{i + 1}.{part}1' for i in range(4) for part in ('conv', 'bn')},
            **{f'neck.fuse.{part}': f'mff_{part}' for part in ('conv', 'bn')},
            **{f'neck.reg.{part}': f'{part}R0' for part in ('conv', 'bn')},
            'neck.conv_depth': 'convR2',
            'neck.gate': 'dec4',
        },
    ),
    'depth_distribution': (
        ('density_head', 'depth_head'),
        {
            'decode_head.convs': 'layer6.conv2d_list',
            **{f'density_head.conv{i}': f'enc4_{i}' for i in (1, 2, 3)},
            **{f'depth_head.conv{i}': f'enc5_{i}' for i in (1, 2, 3)},
        },
    ),
    'hiast': ((), {'backbone': 'seg_model.backbone', 'decode_head.convs': 'seg_model.aspp.conv2d_list'}),
}
# What the authors save around the weights.
AROUND = {
    'ehtdi': lambda state: {'state_dict': {}, 'shadow': state, 'epoch': 3, 'best_MIou': np.float64(0.5)},
    'ldbe': lambda state: {f'module.{key}': value for key, value in state.items()},
    'daf_ida': lambda state: {'model_state_dict': state, 'iter': 13000, 'loss': torch.ones(1)},
    'depth_distribution': lambda state: {
        'model': state | {f'{dead}.{key}': torch.ones(1) for dead in UNUSED for key in ('weight', 'bias')},
        'optimizer': {'state': {}, 'param_groups': []},
    },
    'hiast': dict,
}
UNUSED = ('enc4_4', 'dec4')  # parameters of Depth Distribution's network without a use (its spec 3.1)


def narrow(layout):
    """A network with every tensor of a layout's ResNet-101, 2 channels wide."""
    more, _ = PUBLISHED[layout]
    head = dict(type='mmuda.SummedASPPHead', num_classes=19, align_corners=True)
    parts = {
        'decode_head': dict(head, in_channels=64, in_index=3),
        'auxiliary_head': dict(head, in_channels=32, in_index=2),
        'neck': dict(type='mmuda.DepthGuide', in_channels=(8, 16, 32, 64), depth_size=(16, 16)),
        'density_head': dict(in_channels=64, mid_channels=8, out_channels=4),
        'depth_head': dict(in_channels=64, mid_channels=8, out_channels=4),
    }
    backbone = dict(
        type='mmuda.CeilResNet', depth=101, stem_channels=2, base_channels=2, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4), contract_dilation=False, style='caffe',
    )  # fmt: skip
    chosen = {name: parts[name] for name in ('decode_head', *more)}
    kind = 'mmuda.DensityDepthSegmentor' if 'density_head' in chosen else 'EncoderDecoder'
    return MODELS.build(dict(type=kind, backbone=backbone, test_cfg=dict(mode='whole'), **chosen)).eval()


def all_heads(network, image):
    """Everything that a network predicts."""
    features = network.extract_feat(image)
    heads = [getattr(network, name, None) for name in ('decode_head', 'auxiliary_head', 'density_head', 'depth_head')]
    depth = [logits_and_depth(network, image)[1]] if network.with_neck else []
    return [head(features) for head in heads if head is not None] + depth


@pytest.mark.parametrize('layout', PUBLISHED)
def test_a_published_file_imports_completely_and_predicts_the_same(layout, tmp_path, convert, capsys):
    torch.manual_seed(0)
    network, image = narrow(layout), torch.randn(1, 3, 33, 65)
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if 'var' in key else value.normal_(std=0.5)
    names = {'backbone.': '', **{f'{ours}.': f'{theirs}.' for ours, theirs in PUBLISHED[layout][1].items()}}

    def published(key):
        [ours] = [ours for ours in names if key.startswith(ours)]
        return names[ours] + key.removeprefix(ours)

    state = {published(key): value for key, value in network.state_dict().items()}
    torch.save(AROUND[layout](state), tmp_path / 'in.pth')
    convert(tmp_path / 'in.pth', tmp_path / 'out.pth', layout=layout)
    printed = capsys.readouterr().out
    assert f'matched: {len(state)} tensors' in printed
    dropped = '4 tensors of dec4, enc4_4' if layout == 'depth_distribution' else '0 tensors'
    assert f'dropped: {dropped}\n' in printed
    assert 'missing: 0 tensors' in printed
    torch.manual_seed(1)
    other = narrow(layout)
    other.load_state_dict(load_safe(tmp_path / 'out.pth')['state_dict'])
    with torch.no_grad():
        wanted, found = all_heads(network, image), all_heads(other, image)
    assert len(found) == 1 + len(PUBLISHED[layout][0])
    assert all(torch.equal(one, two) and one.std() > 0 for one, two in zip(found, wanted, strict=True))


# ----------------------------------------------------------------------------------------- loading into our models


class _Student(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone = nn.Sequential()
        self.backbone.add_module('conv1', nn.Conv2d(3, 4, 7, bias=False))
        self.decode_head = SummedASPPHead(8, classes)
        self.auxiliary_head = SummedASPPHead(4, classes)


class _Model(nn.Module):
    """Has a student and a teacher, and adapts what it loads, as ``UDASegmentor`` does."""

    def __init__(self, classes, teacher=True):
        super().__init__()
        self.student = _Student(classes)
        self.teacher = nn.Module() if teacher else None
        if teacher:
            self.teacher.model = _Student(classes)
        self._register_load_state_dict_pre_hook(lambda state, prefix, *_: adapt_state(state, self, prefix))


def test_a_plain_network_becomes_student_and_teacher():
    state = {key: value for key, value in port().items() if key.startswith(('conv1', 'layer5', 'layer6'))}
    outer = nn.Sequential(_Model(19))
    outer.load_state_dict({f'0.{key}': value for key, value in state.items()})
    bias = state['layer6.conv2d_list.3.bias']
    assert torch.equal(outer[0].student.decode_head.convs[3].bias, bias)
    assert torch.equal(outer[0].teacher.model.decode_head.convs[3].bias, bias)


def test_a_start_keeps_rows_that_were_named():
    state = {key: value for key, value in port().items() if key.startswith(('conv1', 'layer5', 'layer6'))}
    start = start_state(state, _Model(16), rows=S16)
    for place in ('student', 'teacher.model'):
        assert torch.equal(start[f'{place}.decode_head.convs.3.bias'], state['layer6.conv2d_list.3.bias'][S16])
    with pytest.raises(ValueError, match=r'\(19, .* in the checkpoint, \(16, .*convert_checkpoint\.py --classes'):
        start_state(state, _Model(16))  # which of the 19 they are nobody says


def test_a_student_without_teacher_starts_the_teacher():
    without, model = _Model(19, teacher=False), _Model(19)
    model.load_state_dict(without.state_dict())
    same(model.teacher.model.state_dict(), without.student.state_dict())


def test_a_whole_state_is_left_alone():
    saved, model = _Model(19), _Model(19)
    model.load_state_dict(saved.state_dict())
    same(model.state_dict(), saved.state_dict())


class _Adversarial(_Model):
    """Has state beside its networks, too."""

    def __init__(self, channels=4):
        super().__init__(19)
        self.discriminator = nn.Conv2d(19, channels, 1)
        self.register_buffer('thresholds', torch.rand(19))


def test_a_start_takes_one_network_and_what_is_carried():
    saved, model = _Adversarial(), _Adversarial()
    state, student = saved.state_dict(), saved.student.state_dict()
    start = start_state(state, model)
    same({key.removeprefix('student.'): start[key] for key in start if key.startswith('student.')}, student)
    same({key.removeprefix('teacher.model.'): start[key] for key in start if key.startswith('teacher.')}, student)
    assert not any(key.startswith(('discriminator', 'thresholds')) for key in start)
    same(start_state(state, model, carry=['teacher', 'discriminator', 'thresholds']), state)
    alone = start_state(state, _Model(19, teacher=False))
    same({key.removeprefix('student.'): value for key, value in alone.items()}, saved.teacher.model.state_dict())


@pytest.mark.parametrize(
    ('saved', 'part', 'message'),
    [
        (_Adversarial, 'critic', "'critic', which this model does not have"),
        (lambda: _Model(19), 'discriminator', "'discriminator', but the checkpoint has none"),
        (lambda: _Adversarial(channels=2), 'discriminator', "'discriminator', but the checkpoint has another one"),
    ],
)
def test_what_cannot_be_carried(saved, part, message):
    with pytest.raises(ValueError, match=message):
        start_state(saved().state_dict(), _Adversarial(), carry=[part])


# ---------------------------------------------------------------------------------------------------- safe reading


class _Runs:
    """Pickles into a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def hostile(tmp_path, how, legacy):
    marker = tmp_path / 'marker'
    payload = {
        'system': _Runs(os.system, f'touch {marker}'),
        'exec': _Runs(exec, f'open({str(marker)!r}, "w")'),
        'getattr': _Runs(getattr, Path(marker), 'touch'),
    }[how]
    path = tmp_path / 'hostile.pth'
    torch.save({'state_dict': port(), 'meta': payload}, path, _use_new_zipfile_serialization=not legacy)
    return path, marker


@pytest.fixture
def safe_loader():
    before = dict(CheckpointLoader._schemes)
    install_safe_loader()
    yield
    CheckpointLoader._schemes = before


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('how', ['system', 'exec', 'getattr'])
@pytest.mark.usefixtures('safe_loader')
def test_a_file_that_runs_code_is_refused(tmp_path, how, legacy):
    path, marker = hostile(tmp_path, how, legacy)
    readers = [
        load_safe,
        lambda file: load_safe(file, allow=NUMPY_SCALARS),
        lambda file: CheckpointLoader.load_checkpoint(str(file)),
        lambda file: load_checkpoint(nn.Linear(1, 1), str(file)),
        lambda file: load_from_http(file.as_uri(), model_dir=str(tmp_path / 'downloads')),
    ]
    for read in readers:
        with pytest.raises(ValueError, match=r'hostile\.pth is refused: it needs pickled code'):
            read(path)
        assert not marker.exists()
    torch.load(path, weights_only=False)  # the same file does run its code in a reader that is not safe
    assert marker.exists() or how == 'getattr'


def test_whoever_builds_a_model_of_ours_has_the_safe_loader(tmp_path):
    path, marker = hostile(tmp_path, 'exec', legacy=False)
    config = Path(__file__).parents[2] / 'configs/ehtdi/minicity.py'
    code = f'from mmseg.apis import init_model; init_model({str(config)!r}, {str(path)!r}, device="cpu")'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=config.parents[2])
    assert 'hostile.pth is refused' in done.stderr
    assert not marker.exists()


def test_what_others_allow_does_not_count(tmp_path):
    path, _ = hostile(tmp_path, 'getattr', legacy=False)
    with torch.serialization.safe_globals([getattr, type(path)]):
        with pytest.raises(ValueError, match='refused'):
            load_safe(path)
        assert getattr in torch.serialization.get_safe_globals()


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', None], ids=['empty', 'text', 'cut'])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / 'broken.pth'
    torch.save(port(), path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(ValueError, match=r'broken\.pth is not a readable checkpoint'):
        load_safe(path)
    with pytest.raises(FileNotFoundError):
        load_safe(tmp_path / 'absent.pth')


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_numpy_numbers_only_by_permission(tmp_path, legacy):
    path = tmp_path / 'scores.pth'
    torch.save({'best_MIou': np.float64(0.5), 'iter': np.int64(3)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r'refused.*tools/convert_checkpoint\.py'):
        load_safe(path)
    assert load_safe(path, allow=NUMPY_SCALARS) == {'best_MIou': 0.5, 'iter': 3}


def test_only_numbers_are_allowed_and_only_in_the_converter():
    scalar = np._core.multiarray.scalar
    for one in NUMPY_SCALARS:
        allowed = one[0] if isinstance(one, tuple) else one
        assert allowed is scalar or issubclass(allowed, np.dtype)
    users = {
        file.name
        for folder in ('mmuda', 'tools')
        for file in (ROOT / folder).rglob('*.py')
        if 'NUMPY_SCALARS' in file.read_text()
    }
    assert users == {'checkpoint.py', 'convert_checkpoint.py'}


def test_numpy_numbers_as_numpy_1_wrote_them(tmp_path):
    new, old = tmp_path / 'new.pth', tmp_path / 'old.pth'
    torch.save({'best_MIou': np.float64(0.5)}, new)
    with zipfile.ZipFile(new) as read, zipfile.ZipFile(old, 'w') as write:
        for name in read.namelist():
            write.writestr(name, read.read(name).replace(b'numpy._core.multiarray', b'numpy.core.multiarray'))
    assert load_safe(old, allow=NUMPY_SCALARS) == {'best_MIou': 0.5}


# ----------------------------------------------------------------------------------------------------------- the tool


@pytest.fixture
def convert(monkeypatch):
    def run(*args, layout='ehtdi'):
        given = [layout] if layout else []
        monkeypatch.setattr(sys, 'argv', ['convert_checkpoint.py', *given, *map(str, args)])
        runpy.run_path(str(ROOT / 'tools' / 'convert_checkpoint.py'), run_name='__main__')

    return run


def test_tool(tmp_path, convert, capsys):
    source, out = tmp_path / 'in.pth', tmp_path / 'out.pth'
    dead = {'proto_classifier.weight': torch.ones(1), 'para': torch.ones(1)}
    torch.save({'state_dict': port(prefix='module.'), 'shadow': port() | dead, 'best_MIou': np.float64(0.5)}, source)
    convert(source, out, '--classes', 16)
    printed = capsys.readouterr().out
    assert 'layout: DeepLab-v2 port, shadow; classes: 16' in printed
    assert 'matched: 19 tensors' in printed
    assert 'dropped: 2 tensors of para, proto_classifier' in printed
    assert 'missing: 621 tensors of backbone.bn1, ' in printed
    converted = load_safe(out)
    same(converted['state_dict'], slice_classes(network_state(port()).state, S16))
    assert len(converted['meta']['dataset_meta']['classes']) == 16
    assert sorted(file.name for file in tmp_path.iterdir()) == ['in.pth', 'out.pth']


def test_tool_calls_classes_by_their_names(tmp_path, convert, capsys):
    own, kept = [f'kind {number}' for number in range(19)], ['person', *NAMES[16]]
    files = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(port(), files[0])
    with pytest.raises(SystemExit, match=r'error: a head of 19 classes \(kind 0, \.\.\.\) lacks road, '):
        convert(*files, '--classes', 16, '--names', *own)
    convert(*files, '--names', *own)
    assert 'classes: 19 (kind 0, ..., kind 18)' in capsys.readouterr().out
    assert load_safe(files[1])['meta']['dataset_meta']['classes'] == tuple(own)
    with pytest.raises(SystemExit, match=r'has 19 classes, the list of its names 17'):
        convert(*files, '--names', *kept)

    torch.save(port(13), files[0])  # EHTDI published none of 13
    convert(*files)
    assert 'classes: 13 without names (--names)' in capsys.readouterr().out
    assert 'dataset_meta' not in load_safe(files[1])['meta']
    with pytest.raises(SystemExit, match=r'13 classes that nobody names: name them by --names'):
        convert(*files, '--classes', 7)
    torch.save({'state_dict': port(), 'meta': {'dataset_meta': {'classes': own}}}, files[0])  # it says so itself
    convert(*files)
    assert load_safe(files[1])['meta']['dataset_meta']['classes'] == tuple(own)


def test_tool_takes_the_start_file(tmp_path, convert):
    torch.save(port(21, prefix='Scale.'), tmp_path / 'init.pth')
    convert(tmp_path / 'init.pth', tmp_path / 'out.pth')
    assert not any(key.startswith('auxiliary_head') for key in load_safe(tmp_path / 'out.pth')['state_dict'])


def test_tool_takes_files_with_one_head(tmp_path, convert, capsys):
    state = port()
    for branch in range(4):  # untrained, on the same features
        state[f'layer5.conv2d_list.{branch}.weight'] = torch.randn(19, 8, 3, 3)
    torch.save(state, tmp_path / 'in.pth')
    convert(tmp_path / 'in.pth', tmp_path / 'out.pth', layout='ldbe')
    printed = capsys.readouterr().out
    assert 'layout: DeepLab-v2 port, one head; classes: 19' in printed
    assert 'dropped: 8 tensors of layer6.conv2d_list.0, ' in printed
    assert 'missing: 621 tensors of backbone.bn1, ' in printed
    converted = load_safe(tmp_path / 'out.pth')['state_dict']
    assert torch.equal(converted['decode_head.convs.3.bias'], state['layer5.conv2d_list.3.bias'])


def test_tool_takes_both_networks_of_depth_distribution(tmp_path, convert, capsys):
    heads = {f'enc{number}_{part}.bias': torch.randn(4) for number in (4, 5) for part in (1, 2, 3)}
    state = (
        port()
        | heads
        | {'enc5_1.weight': torch.randn(4, 4, 1, 1), 'enc4_4.weight': torch.ones(1), 'dec4.bias': torch.ones(1)}
    )
    state = {key: value for key, value in state.items() if not key.startswith('layer5')}
    torch.save({'model': state, 'optimizer': {'state': {}}}, tmp_path / 'model_9.pth')
    judge = FCDiscriminator(19, base_channels=2).state_dict()
    torch.save(judge, tmp_path / 'model_D_9.pth')
    files = tmp_path / 'model_9.pth', tmp_path / 'out.pth'
    convert(*files, '--discriminator', tmp_path / 'model_D_9.pth', layout='depth_distribution')
    printed = capsys.readouterr().out
    assert 'layout: DeepLab-v2 port, density and depth, model; classes: 19' in printed
    assert 'dropped: 2 tensors of dec4, enc4_4' in printed
    assert 'discriminator: 10 tensors' in printed
    found = load_safe(tmp_path / 'out.pth')['state_dict']
    assert torch.equal(found['density_head.conv2.bias'], state['enc4_2.bias'])
    assert torch.equal(found['depth_head.conv3.bias'], state['enc5_3.bias'])
    same({key: found[f'discriminator.{key}'] for key in judge}, judge)
    with pytest.raises(SystemExit, match=r'model_9.pth is no discriminator: it has model'):
        convert(*files, '--discriminator', tmp_path / 'model_9.pth', layout='depth_distribution')


def test_tool_drops_what_the_named_network_does_not_have(tmp_path, convert, capsys):
    torch.save(port(), tmp_path / 'in.pth')
    convert(tmp_path / 'in.pth', tmp_path / 'out.pth', layout='ldbe')
    assert 'dropped: 8 tensors of auxiliary_head.convs.0, ' in capsys.readouterr().out
    assert len(load_safe(tmp_path / 'out.pth')['state_dict']) == 11
    torch.save({'state_dict': {'backbone.stem.0.weight': torch.ones(1)}}, tmp_path / 'other.pth')
    with pytest.raises(SystemExit, match=r'error: .* no tensor of the network of ldbe, but backbone\.stem\.0\.weight'):
        convert(tmp_path / 'other.pth', tmp_path / 'none.pth', layout='ldbe')
    assert not (tmp_path / 'none.pth').exists()


def test_tool_refuses_code(tmp_path, convert):
    path, marker = hostile(tmp_path, 'system', legacy=False)
    with pytest.raises(SystemExit, match=r'error: .*hostile\.pth is refused: it needs pickled code .*state_dict alone'):
        convert(path, tmp_path / 'out.pth')
    assert not marker.exists()
    assert not (tmp_path / 'out.pth').exists()


def test_tool_hands_over_weights_classes_and_preprocessing_only(tmp_path, convert):
    state = {f'student.{key}': value for key, value in network_state(port()).state.items()}
    meta = {'cfg': "data_root = 'the owner's folder'", 'seed': 1, 'experiment_name': 'secret'}
    torch.save({'state_dict': state, 'meta': meta, 'message_hub': {}, 'optimizer': {}}, tmp_path / 'iter_9.pth')
    config = ROOT / 'configs/baselines/gta2city_source.py'
    convert('--hand-over', config, tmp_path / 'iter_9.pth', tmp_path / 'out.pth', layout=None)
    found = load_safe(tmp_path / 'out.pth')
    assert found.keys() == {'state_dict', 'meta'}
    assert found['meta'].keys() == {'preprocessing', 'dataset_meta'}
    assert found['meta']['preprocessing']['mean'] == [104.00698793, 116.66876762, 122.67891434]
    same(found['state_dict'], network_state(port()).state)
    other = ROOT / 'configs/baselines/synthia2city_16_source.py'
    with pytest.raises(SystemExit, match=r'the checkpoint has 19 classes, the network of .*16: name its config'):
        convert('--hand-over', other, tmp_path / 'iter_9.pth', tmp_path / 'out.pth', layout=None)
    with pytest.raises(SystemExit):
        convert(tmp_path / 'iter_9.pth', tmp_path / 'out.pth', layout=None)


@pytest.mark.parametrize(('name', 'evaluated'), [('ldbe', 'student'), ('ehtdi', 'teacher.model')])
def test_tool_hands_over_the_network_that_is_evaluated(name, evaluated, load, tmp_path, convert):
    config, checkpoint = save_network(load(f'{name}/minicity.py'), tmp_path)
    content = torch.load(checkpoint)
    key = 'decode_head.convs.0.bias'
    for place, value in (('student', 1.0), ('teacher.model', 2.0)):
        content['state_dict'][f'{place}.{key}'].fill_(value)
    torch.save(content, checkpoint)
    for options, place in (
        ((), evaluated),
        (('--weights', 'ema'), 'teacher.model'),
        (('--weights', 'student'), 'student'),
    ):
        convert('--hand-over', config, checkpoint, tmp_path / 'out.pth', *options, layout=None)
        found = load_safe(tmp_path / 'out.pth')['state_dict']
        assert torch.equal(found[key], content['state_dict'][f'{place}.{key}'])
    with pytest.raises(SystemExit):
        convert('--hand-over', config, checkpoint, tmp_path / 'out.pth', '--discriminator', checkpoint, layout=None)
