"""Shared by all tests: one thread, our registry scope."""

import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope

import mmuda.datasets  # noqa: F401

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _scope() -> None:
    """Build unprefixed types as configs do."""
    if (current := DefaultScope.get_current_instance()) is None or current.scope_name != 'mmuda':
        init_default_scope('mmuda')
