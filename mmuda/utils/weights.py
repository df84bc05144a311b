"""Weights of other layouts by our names: ``backbone.*``, ``decode_head.*`` and so on."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.logging import print_log
from torch import Tensor, nn

_NETWORK = ('backbone.', 'neck.', 'decode_head.', 'auxiliary_head.', 'density_head.', 'depth_head.')
_CLASSES = re.compile(r'(decode_head|auxiliary_head)\.(convs\.\d+|conv_seg)\.(weight|bias)$')
_WRAPPED = re.compile(r'^module\.')
_BACKBONE = (re.compile(r'^((?:conv1|bn1|layer[1-4])\..+)$'), r'backbone.\1')
# DAF's depth branch (DAF+IDA spec 3.5), which no other port has.
_DEPTH = tuple(
    (re.compile(rf'^{theirs}\.(.+)$'), rf'neck.{ours}.\1')
    for theirs, ours in (
        *((rf'att{i + 1}\.{old}', f'attentions.{i}.{new}') for i in range(4) for old, new in ((1, 'fc1'), (3, 'fc2'))),
        *((rf'up{i + 1}\.{new}1', f'up_projs.{i}.{new}') for i in range(4) for new in ('conv', 'bn')),
        *(('mff_conv', 'fuse.conv'), ('mff_bn', 'fuse.bn'), ('convR0', 'reg.conv'), ('bnR0', 'reg.bn')),
        *(('convR2', 'conv_depth'), ('dec4', 'gate')),
    )
)
_HEAD = (re.compile(r'^layer6\.conv2d_list\.(.+)$'), r'decode_head.convs.\1')
# The DeepLab-v2 ports (AdaptSegNet, AdvEnt, MaxSquareLoss, PixMatch, EHTDI, DAF).
_DEEPLAB = (
    _BACKBONE,
    *_DEPTH,
    _HEAD,
    (re.compile(r'^layer5\.conv2d_list\.(.+)$'), r'auxiliary_head.convs.\1'),
)
# CCM and LDBE: one head; a second one on the same features got no gradient (LDBE spec 3.2).
_ONE_HEAD = (_BACKBONE, (re.compile(r'^layer5\.conv2d_list\.(.+)$'), r'decode_head.convs.\1'))
# Depth Distribution (its spec, 3.1): DAF's names in part, with another meaning; enc4_4 and dec4 are never used.
_DENSITY_DEPTH = (
    _BACKBONE,
    _HEAD,
    (re.compile(r'^enc4_([123])\.(.+)$'), r'density_head.conv\1.\2'),
    (re.compile(r'^enc5_([123])\.(.+)$'), r'depth_head.conv\1.\2'),
)

# HIAST and IAST: a ResNet by mmseg's names; a further branch, `representation`, leads nowhere (HIAST spec 3.3).
_HIAST = (
    (re.compile(r'^(?:seg_model\.)?backbone\.(?!fc\.)(.+)$'), r'backbone.\1'),
    (re.compile(r'^(?:seg_model|decoder)\.aspp\.conv2d_list\.(.+)$'), r'decode_head.convs.\1'),
)


class NetworkWeights(NamedTuple):
    """What :func:`network_state` found.

    Attributes:
        state: Tensors by our key names.
        layout: The layout that was recognised, for people.
        dropped: Keys of the file that have no place in the network.
    """

    state: dict[str, Tensor]
    layout: str
    dropped: list[str]


def network_state(checkpoint: Mapping[str, Any], prefer: str = 'ema') -> NetworkWeights:
    """Find the weights of one network in a checkpoint and name them our way.

    Known are: our own checkpoints (``student.*``, ``teacher.model.*``), any mmseg segmentor, the DeepLab-v2 ports (with
    or without ``module.``; EHTDI's hold the average under ``shadow``) and their start file
    ``DeepLab_resnet_pretrained_init`` (``Scale.*``; its 21-class ``layer5`` is dropped). Ports whose ``layer5`` sees
    the features of ``layer6``, or has none beside it, are those with one head (CCM, LDBE). DAF's has a depth branch,
    Depth Distribution's a density and a depth head. HIAST's and IAST's checkpoints are known by ``aspp.conv2d_list``.

    Args:
        checkpoint: A state dict, or a dict that holds one as ``state_dict``, ``model_state_dict`` or ``model``.
        prefer: ``'ema'`` takes the averaged weights where there are some, ``'student'`` never does.

    Raises:
        ValueError: If no key is recognised or ``prefer`` is neither.
    """
    if prefer not in ('ema', 'student'):
        raise ValueError(f"prefer={prefer!r}: choose 'ema' or 'student'")
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f'no weights of a segmentation network found: the file holds a {type(checkpoint).__name__}')
    entries = (['shadow'] if prefer == 'ema' else []) + ['state_dict', 'model_state_dict', 'model']
    entry = next(filter(checkpoint.__contains__, entries), None)
    tensors = {_WRAPPED.sub('', key): value for key, value in checkpoint.get(entry, checkpoint).items()}
    layout, names = _recognise(tensors, prefer)
    state = {names[key]: value for key, value in tensors.items() if key in names}
    if not state:
        raise ValueError(
            f'no weights of a segmentation network found: keys like {list(tensors)[:3]} are neither ours, nor '
            "mmseg's (backbone.*), nor those of the DeepLab-v2 ports (layer1.*, layer6.conv2d_list.*)"
        )
    suffix = f', {entry}' if entry else ''
    return NetworkWeights(state, layout + suffix, [key for key in tensors if key not in names])


def _recognise(tensors: Mapping[str, Any], prefer: str) -> tuple[str, dict[str, str]]:
    """Name of the layout, and our name of every key that has one."""
    prefixes = ('teacher.model.', 'student.') if prefer == 'ema' else ('student.',)
    for prefix in prefixes:
        if any(key.startswith(prefix) for key in tensors):
            own = {key: key[len(prefix) :] for key in tensors if key.startswith(prefix)}
            return f'mmuda ({prefix.split(".")[0]})', own
    if any('.aspp.conv2d_list.' in key for key in tensors):
        return 'HIAST', _renamed(tensors, _HIAST)
    if any(key.startswith('backbone.') for key in tensors):
        return 'mmseg', {key: key for key in tensors if key.startswith(_NETWORK)}
    kind, rules = '', _DEEPLAB
    if 'enc5_1.weight' in tensors:
        kind, rules = ', density and depth', _DENSITY_DEPTH
    elif _has_one_head(tensors):
        kind, rules = ', one head', _ONE_HEAD
    plain = {key.removeprefix('Scale.'): key for key in tensors if not key.startswith('Scale.layer5.')}
    names = {plain[key]: ours for key, ours in _renamed(plain, rules).items()}
    return f'DeepLab-v2 port{kind}', names


def _renamed(keys: Iterable[str], rules: Sequence[tuple[re.Pattern, str]]) -> dict[str, str]:
    """Our name of every key that a rule knows."""
    return {key: rule.sub(ours, key) for key in keys for rule, ours in rules if rule.match(key)}


def _has_one_head(tensors: Mapping[str, Any]) -> bool:
    first, second = (tensors.get(f'layer{layer}.conv2d_list.0.weight') for layer in (5, 6))
    return first is not None and (second is None or first.shape[1] == second.shape[1])


def number_of_classes(state: Mapping[str, Tensor]) -> int | None:
    """Classes of the network whose weights these are; None without a head."""
    return next((len(value) for key, value in state.items() if _CLASSES.match(key)), None)


def rows_kept(have: Sequence[str], want: Sequence[str]) -> list[int]:
    """Rows of a head that a network of some of its classes keeps, in its order (EHTDI spec 2.2).

    Args:
        have: Names of the head's classes.
        want: Names of the network's classes.

    Raises:
        ValueError: If the head lacks one of them.
    """
    if lacking := [name for name in want if name not in have]:
        raise ValueError(
            f'a head of {len(have)} classes ({have[0]}, ...) lacks {", ".join(lacking)} of the {len(want)} wanted: '
            'start from weights of these classes, and call them alike'
        )
    return [have.index(name) for name in want]


def slice_classes(state: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    """Keep some classes of both heads and all their branches.

    Args:
        state: Weights by our key names.
        rows: Class ids to keep, in their new order (:func:`rows_kept`).

    Raises:
        ValueError: If a head has no such row.
    """
    for key, value in state.items():
        if _CLASSES.match(key) and len(value) <= max(rows):
            raise ValueError(f'{key} has {len(value)} classes, so class {max(rows)} cannot be kept')
    return {key: value[list(rows)] if _CLASSES.match(key) else value for key, value in state.items()}


def adapt_state(state: dict[str, Any], model: nn.Module, prefix: str = '') -> None:
    """Make a state dict fit a model with a ``student`` and perhaps a ``teacher``, in place.

    A state of the model's own form is left as it is; of any other the model takes what :func:`start_state` gives.

    Args:
        state: The state dict about to be loaded; only keys with ``prefix`` are looked at.
        model: The model that loads it.
        prefix: Place of the model in a larger one, as torch gives it to load hooks.

    Raises:
        ValueError: If the checkpoint holds no network, or one of another shape.
    """
    own = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    has_student, has_teacher = (any(key.startswith(name) for key in own) for name in ('student.', 'teacher.'))
    if has_student and has_teacher == (model.teacher is not None):
        weights = {key.removeprefix('student.'): value for key, value in own.items() if key.startswith('student.')}
        _check_fit(weights, model.student)
        return
    start = start_state(own, model)
    for key in own:
        del state[prefix + key]
    state.update({prefix + key: value for key, value in start.items()})


def start_state(
    state: Mapping[str, Any], model: nn.Module, carry: Sequence[str] = (), rows: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """What a model that is about to be trained takes over from a checkpoint of any known layout.

    One network is taken: for a model without a teacher the averaged one where there is one, else the student; it
    becomes the student and the teacher.
    Everything else (the teacher's step counter, a discriminator, a method's own buffers) starts anew, save ``carry``.

    Args:
        state: A state dict.
        model: The model, with a ``student`` and perhaps a ``teacher``, at its initial weights.
        carry: Parts of the model beside the student (``'teacher'``, say) whose weights and state are taken over, too.
        rows: The classes to keep of the heads, in their new order (:func:`rows_kept`); None keeps them as they are.

    Raises:
        ValueError: If the checkpoint holds no network, or one of another shape, or not a part to carry.
    """
    weights = network_state(state, prefer='ema' if model.teacher is None else 'student').state
    wanted = model.student.state_dict()
    if rows is not None:
        weights = slice_classes(weights, rows)
    missing = _check_fit(weights, model.student)
    start = {f'student.{key}': value for key, value in weights.items()}
    if model.teacher is not None:
        start |= model.teacher.state_dict(prefix='teacher.')  # its step counter
        start |= {f'teacher.model.{key}': value for key, value in weights.items()}
    for part in carry:
        start |= _part(state, model, part)
    print_log(
        f'start weights: {len(wanted) - len(missing)} of {len(wanted)} tensors taken'
        + (f'; not in the checkpoint, so at their initial values: {", ".join(missing)}' if missing else '')
        + (f'; carried on: {", ".join(carry)}' if carry else ''),
        logger='current',
    )
    return start


def _part(state: Mapping[str, Any], model: nn.Module, part: str) -> dict[str, Tensor]:
    """The tensors of a part of the model as a state has them, all of them; an error when it does not fit."""

    def of_part(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
        return {key: value for key, value in tensors.items() if key == part or key.startswith(f'{part}.')}

    wanted, found = of_part(model.state_dict()), of_part(state)
    if not wanted:
        raise ValueError(f'carry names {part!r}, which this model does not have')
    if {key: value.shape for key, value in found.items()} != {key: value.shape for key, value in wanted.items()}:
        raise ValueError(
            f'carry names {part!r}, but the checkpoint has ' + ('another one' if found else 'none') + ': start from a '
            'checkpoint of the same method, or leave carry out'
        )
    return found


def _check_fit(weights: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    """Names of the network's tensors that the weights lack; an error when they are of another network."""
    wanted = network.state_dict()
    if not weights.keys() & wanted.keys():
        raise ValueError(
            f'the checkpoint holds another kind of network: it has {next(iter(weights), "nothing")}, '
            f'this model {next(iter(wanted))}. Use a checkpoint of the same model.student'
        )
    for key in filter(weights.__contains__, wanted):
        if weights[key].shape != wanted[key].shape:
            cure = (
                'set num_classes of the heads, or keep some classes by tools/convert_checkpoint.py --classes'
                if _CLASSES.match(key)
                else 'use the model.student it was trained with'
            )
            raise ValueError(
                f'{key} is {tuple(weights[key].shape)} in the checkpoint, '
                f'{tuple(wanted[key].shape)} in the model: {cure}'
            )
    return [key for key in wanted if key not in weights]
