"""What makes a stream of tasks a pure function of its seed: keyed generators, one thread, curricula by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def seeded_generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator whose stream depends on every number of `key` (and on the kind of device) and on nothing else."""
    import numpy as np

    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of floats depend, in their last bit, on how many threads share them; what is drawn inside does not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def at_step(what: Any, step: int) -> Any:
    """`what.at_step(step)` if it follows a curriculum, else `what` itself."""
    return what.at_step(step) if hasattr(what, "at_step") else what
