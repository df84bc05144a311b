"""What a stage takes over from the checkpoint that it starts from."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmuda.utils.weights import start_state


class StartHook(Hook):
    """Takes the network alone, whatever else the checkpoint holds.

    A checkpoint of the same method fits as a whole, so loading it plainly would go on with its teacher, step counters
    and discriminators as a resume does. The recipe gives this hook to stages that start, not to those that go on.

    Args:
        carry: Parts of the model that are taken over nevertheless; see :func:`start_state`.
    """

    def __init__(self, carry: Sequence[str] = ()) -> None:
        self.carry = carry

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put what the stage takes over in place of the checkpoint's state."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        state = checkpoint.get('state_dict', checkpoint)
        checkpoint['state_dict'] = start_state(state, model, self.carry)
