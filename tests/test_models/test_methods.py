"""The hard cases for every method that is here."""

from method_tester import MethodTester


class TestEHTDI(MethodTester):
    config = 'ehtdi/minicity.py'
    crops = {  # noqa: RUF012
        'train_dataloader.dataset.source.pipeline.4.size': (32, 32),
        'train_dataloader.dataset.target.pipeline.3.size': (32, 32),
    }


class TestSupervised(MethodTester):
    config = 'baselines/minicity_source.py'
