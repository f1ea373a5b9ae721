"""The network compiled for training, where that pays."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch

from icl.network.model import TabularTransformer

# PyTorch goes back to eager steps at 8 graphs of one function. The last block and the others have their own, one task
# and several, and each number of pieces that attention is cut into (`icl.network.kernels.MOST_ROWS`).
MOST_GRAPHS = 32


def pays_on(device: torch.device) -> bool:
    """Whether steps are compiled where nobody said: on GPUs of CUDA that Triton and a compiler can serve.

    On a CPU steps are 14 to 36 % shorter, and compiling takes minutes: long runs ask for it (`--model.compile true`;
    benchmarks/training_step.md).
    """
    if device.type != "cuda":
        return False
    from torch.utils._triton import has_triton

    return has_triton() and any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))


def compile_blocks(model: TabularTransformer, **options: Any) -> None:
    """Compile the blocks for training, in place; names and values of the weights stay.

    The blocks are alike: two graphs serve them all, those of the last one and of the others, for all shapes of tasks,
    where the network as a whole would be compiled six times as long. What no gradient passes through, validation and
    prediction, takes other ways and stays as it is. `options` are those of `torch.compile`.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
    for block in model.blocks:
        block.compile(dynamic=True, **options)
