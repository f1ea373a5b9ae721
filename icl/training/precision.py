"""bf16 on CPUs that multiply it faster than float32, float32 on all others."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from lightning.pytorch.plugins.precision import Precision


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 natively: AVX512-BF16 (2.2 to 2.9 times float32 on a Zen 5), or AMX.

    Asked of the processor, not measured: a run that is resumed on the same machine must take the same way.
    """
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def refuse_precision(precision: str) -> None:
    """Raise ValueError for a precision that training does not keep its figures in.

    In 16-mixed gradients overflow without a scaler; with weights in 16 bits small updates are rounded away.
    """
    if precision not in ("32-true", "bf16-mixed"):
        raise ValueError(
            f"precision {precision} is not supported; use bf16-mixed, or 32-true on devices without bf16 "
            f"(--trainer.precision)."
        )


class Bf16WhereFast(Precision):
    """Autocast to bf16 on a CPU with units for it; weights, optimiser, embeddings and losses stay in float32.

    For `--trainer.plugins`, with `--trainer.precision` left out. Attributes: `precision`, as Lightning names it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.precision = "bf16-mixed" if has_bf16_units() else "32-true"

    def forward_context(self) -> AbstractContextManager:
        return torch.autocast("cpu", torch.bfloat16) if self.precision == "bf16-mixed" else nullcontext()
