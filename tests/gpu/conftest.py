"""The device of these tests: the accelerator, or the CPU where `ICL_TEST_DEVICE=cpu` asks for a rehearsal."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device():
    asked = os.environ.get("ICL_TEST_DEVICE")
    if asked is None and not torch.cuda.is_available():
        pytest.skip("PyTorch sees no CUDA device here; ICL_TEST_DEVICE=cpu rehearses these tests on the CPU.")
    return torch.device(asked or "cuda")


@pytest.fixture
def exact():
    """Products of float32 in float32: training allows TF32, which keeps ten bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)
