"""Fixtures that several test files share. Keep it small."""

import pytest
import torch
from weights import tiny_network

# Threads that wait for one another on shared cores lose more than they bring; `make test` runs two processes instead.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def seeded():
    """seeded(n): a generator of its own, so that no test draws from ambient randomness."""
    return lambda seed: torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def tiny_model():
    """A random TabularTransformer of some 12k parameters; at most 20 features and 5 classes. Do not change it."""
    return tiny_network()


@pytest.fixture(scope="session")
def tiny_release(tiny_model, tmp_path_factory):
    """Path of `tiny_model` as a release folder, stored in float32. Do not change it."""
    from icl.releases.folder import save_release

    return save_release(tiny_model, tmp_path_factory.mktemp("release") / "tiny", {"seed": 0}, dtype=torch.float32)
