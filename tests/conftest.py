"""What every test may rely on: one thread, a fixed seed, and real speech where there is some."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the order of a sum, and so its last bits, depends on how many threads share it
os.environ.setdefault("VOCODER_BATCH_FRAMES", "0")  # and on what else is in a batch; its own tests set this


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same state of torch's global generator, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture
def float64() -> Iterator[torch.dtype]:
    """Make float64 the default dtype for one test: laws are exact there to about 1e-10."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch.float64
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def speech_dir() -> Path:
    """The folder of recorded speech that VOCODER_SPEECH_DIR names; without one the test is skipped."""
    if not (named := os.environ.get("VOCODER_SPEECH_DIR")):
        pytest.skip("needs recorded speech: VOCODER_SPEECH_DIR is not set")
    if not (folder := Path(named)).is_dir():
        pytest.fail(f"VOCODER_SPEECH_DIR={named} is not a folder")
    return folder
