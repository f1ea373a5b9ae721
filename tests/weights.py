"""Weights for tests of laws."""

import atexit
import copy
import functools
import tempfile
from pathlib import Path

import torch

from icl.network.reader import ReaderConfig

SHORT = ReaderConfig(depths=(0, 1), stride=2, rows=12)


def perturbed(model, generator: torch.Generator, std: float = 0.2):
    """Every weight moved: zero-initialised outputs would pass any symmetry test."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(std * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny_network():
    """A random TabularTransformer of some 12k parameters; at most 20 features and 5 classes."""
    from icl.network.config import TabularConfig
    from icl.network.model import TabularTransformer

    config = TabularConfig(
        d_embed=16, n_layers=2, n_heads=2, n_thinking_rows=2, n_bins=32, max_features=20, max_classes=5, max_context=200
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return perturbed(TabularTransformer(config), torch.Generator().manual_seed(1))


@functools.cache
def tiny_release_path() -> str:
    """`tiny_network` as a release folder, for what is needed before fixtures are; gone when the process ends."""
    from icl.releases.folder import save_release

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return str(save_release(tiny_network(), Path(folder.name) / "tiny", {"seed": 0}, dtype=torch.float32))


def perturbed_reader(model, shape, generator):
    """A reader of weights unlike its network's, which stay as they are."""
    from icl.network.reader import Reader

    reader = perturbed(Reader(copy.deepcopy(model), shape), generator)
    reader.trunk.load_state_dict(model.state_dict())
    return reader


def reader_tasks(seed: int, n_classes: int | None = 3, n_context: int = 40, n_query: int = 30, n_features: int = 7):
    """(X, y, is_categorical, n_classes) of two tasks with a gap and a column of two values."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(2, n_context + n_query, n_features, generator=g)
    X[:, 3, 2] = torch.nan
    flags = torch.arange(n_features).expand(2, -1) == 0
    X[..., 0] = X[..., 0].sign()
    if n_classes is None:
        return X, torch.randn(2, n_context, generator=g), flags, None
    return X, torch.randint(0, n_classes, (2, n_context), generator=g), flags, n_classes
