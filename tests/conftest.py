"""Fixtures of every test."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a machine that does other work is not what tests are about
settings.load_profile("patient")

if os.environ.get("IEIW_TEST_GPU") != "1":  # `make test-gpu`; all else has the figures of a CPU, a GPU at hand or not
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of small real samples in the datasets' own formats: IEIW_SAMPLES, or beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("IEIW_SAMPLES", beside))
    if not folder.is_dir():
        pytest.skip("no real samples here: set IEIW_SAMPLES to their folder")
    return folder
