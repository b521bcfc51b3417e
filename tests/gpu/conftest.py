"""`make test-gpu`: without a GPU these tests prove nothing, so they do not pretend to."""

import pytest
import torch


def pytest_collection_modifyitems() -> None:
    """End at once where there is no GPU."""
    if not torch.cuda.is_available():
        pytest.exit("these tests need a CUDA GPU and IEIW_TEST_GPU=1: run `make test-gpu` where there is one", 2)
