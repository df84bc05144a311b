"""What a stage takes over from the checkpoint that it starts from."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmuda.utils.weights import rows_kept, start_state


class StartHook(Hook):
    """Takes the network alone, whatever else the checkpoint holds, and of its heads the classes of this run by name.

    A checkpoint of the same method fits as a whole, so loading it plainly would go on with its teacher, step counters
    and discriminators as a resume does. The recipe gives this hook to stages that start, not to those that go on.

    Args:
        carry: Parts of the model that are taken over nevertheless; see :func:`start_state`.
    """

    def __init__(self, carry: Sequence[str] = ()) -> None:
        self.carry = carry

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put what the stage takes over in place of the checkpoint's state."""
        meta = checkpoint.get('meta', {})
        _check_preprocessing(runner.cfg.model.data_preprocessor, meta.get('preprocessing', {}))
        have = list(meta.get('dataset_meta', {}).get('classes', ()))
        want = list(runner.train_dataloader.dataset.metainfo['classes'])
        rows = rows_kept(have, want) if have and have != want else None
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        state = checkpoint.get('state_dict', checkpoint)
        checkpoint['state_dict'] = start_state(state, model, self.carry, rows)


def _check_preprocessing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise a ValueError if a network that was handed over expects images to be prepared otherwise."""
    for key, value in theirs.items():
        if ours.get(key) != value:
            raise ValueError(
                f'the start weights were handed over for images of {key}={value}, but model.data_preprocessor has '
                f'{ours.get(key)}: set it alike'
            )
