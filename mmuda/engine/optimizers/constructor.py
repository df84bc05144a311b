"""One optimizer for the model or one per network, with parameter settings chosen by name."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmuda.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

_NEUTRAL = dict(lr_mult=1.0, repeat=None)  # None: what the optimizer says


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class NetworkOptimConstructor:
    """Build the optimizer wrapper of a model, or one wrapper per network of it (DESIGN section 3).

    With ``optimizer`` in the config all trainable parameters of the model share one wrapper::

        optim_wrapper = dict(
            constructor='mmuda.NetworkOptimConstructor',
            optimizer=dict(type='SGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
            paramwise_cfg=dict(rules=[dict(match=r'(decode|auxiliary)_head\\.', lr_mult=10)]))

    Otherwise every key is the attribute name of a network of the model, and holds such a config of its own::

        optim_wrapper = dict(
            constructor='mmuda.NetworkOptimConstructor',
            student=dict(optimizer=dict(...), paramwise_cfg=dict(rules=[...])),
            discriminator=dict(optimizer=dict(...)))

    A rule is ``dict(match=REGEX, lr_mult=1.0, repeat=K)``. The first rule whose expression is found
    (``re.search``) in a parameter's name applies; ``repeat`` needs :class:`RepeatedSGD`. Parameters of equal settings
    share one group, named after its settings. Frozen parameters are left out.

    Args:
        optim_wrapper_cfg: As above, without ``constructor`` and ``paramwise_cfg``.
        paramwise_cfg: ``dict(rules=[...])`` for the one-wrapper form.

    Raises:
        ValueError: A key that is no network of the model; trainable parameters that no network covers; a rule that
            matches nothing or has an unknown setting; a network with nothing to train.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.cfg = dict(optim_wrapper_cfg)
        self.paramwise_cfg = paramwise_cfg

    def __call__(self, model: nn.Module) -> OptimWrapper | OptimWrapperDict:
        """Build the wrapper, or the dict of wrappers, for ``model`` (a wrapped model is unwrapped)."""
        model = getattr(model, 'module', model)
        if 'optimizer' in self.cfg:
            return _build_wrapper(model, dict(self.cfg, paramwise_cfg=self.paramwise_cfg), 'the model')
        if self.paramwise_cfg:
            raise ValueError(
                "optim_wrapper.paramwise_cfg has no optimizer beside it: move it into the networks' configs"
            )
        networks = dict(model.named_children())
        for name, cfg in self.cfg.items():
            if name not in networks or not isinstance(cfg, Mapping):
                raise ValueError(
                    f'optim_wrapper.{name} is no network of {type(model).__name__}; it has {sorted(networks)}, '
                    "and 'optimizer' stands for one optimizer over all of them"
                )
        _check_coverage(model, self.cfg)
        return OptimWrapperDict(**{name: _build_wrapper(networks[name], cfg, name) for name, cfg in self.cfg.items()})


def _check_coverage(model: nn.Module, names: Mapping[str, Any]) -> None:
    for name, param in model.named_parameters():
        if param.requires_grad and name.split('.')[0] not in names:
            raise ValueError(f'parameter {name} is trainable, but optim_wrapper has only {sorted(names)}')


def _build_wrapper(network: nn.Module, cfg: Mapping[str, Any], owner: str) -> OptimWrapper:
    cfg = dict(dict(type='OptimWrapper'), **cfg)
    groups = _group(network, (cfg.pop('paramwise_cfg', None) or {}).get('rules', ()), owner)
    param_groups = [dict(params=params, name=_name(settings)) for settings, params in groups.items()]
    optimizer = OPTIMIZERS.build(dict(cfg.pop('optimizer'), params=param_groups))
    for group, (lr_mult, repeat) in zip(optimizer.param_groups, groups, strict=True):
        group['lr'] *= lr_mult
        if repeat is not None:
            if 'repeat' not in group:
                raise ValueError(f"{type(optimizer).__name__} knows no repeat={repeat}: use type='mmuda.RepeatedSGD'")
            group['repeat'] = repeat
    wrapper = OPTIM_WRAPPERS.build(cfg, default_args=dict(optimizer=optimizer))
    if type(wrapper) is not OptimWrapper or cfg.get('accumulative_counts', 1) != 1:
        raise ValueError(
            f'optim_wrapper of {owner}: a step has several backward passes, so use a plain OptimWrapper without '
            'accumulative_counts'
        )
    return wrapper


def _group(network: nn.Module, rules: Sequence[Mapping[str, Any]], owner: str) -> dict[tuple, list[nn.Parameter]]:
    """Trainable parameters by their (lr_mult, repeat), in the order of the network."""
    compiled = [(re.compile(rule['match']), _settings(rule)) for rule in rules] + [(re.compile(''), _settings({}))]
    groups: dict[tuple, list[nn.Parameter]] = {}
    used = set()
    for name, param in network.named_parameters():
        if param.requires_grad:
            first = next(i for i, (pattern, _) in enumerate(compiled) if pattern.search(name))
            groups.setdefault(compiled[first][1], []).append(param)
            used.add(first)
    if not groups:
        raise ValueError(f'{owner} has no trainable parameter for its optimizer')
    for i, rule in enumerate(rules):
        if i not in used:
            raise ValueError(f'optimizer rule match={rule["match"]!r} applies to no trainable parameter of {owner}')
    return groups


def _settings(rule: Mapping[str, Any]) -> tuple:
    unknown = set(rule) - {'match', *_NEUTRAL}
    if unknown:
        raise ValueError(f'optimizer rule {dict(rule)} has unknown settings {sorted(unknown)}; known: {list(_NEUTRAL)}')
    return tuple(rule.get(key, neutral) for key, neutral in _NEUTRAL.items())


def _name(settings: tuple) -> str:
    parts = zip(_NEUTRAL.items(), settings, strict=True)
    return ', '.join(f'{key} {value:g}' for (key, neutral), value in parts if value != neutral) or 'base'
