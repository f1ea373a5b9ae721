"""How fast training runs: tables, tokens and operations a second, and the share of the device's peak they make."""

from __future__ import annotations

import time
from collections import deque

import torch

from icl.training.cost import Cost

# Why not Lightning's: `get_available_flops` counts sparse products for H200 and H100 NVL, which doubles their peak, and
# knows neither GH200, B200 nor L40S; `Throughput` cannot pause, so a validation would slow the next hundred steps.
#
# Dense bf16 matrix products with float32 sums, TFLOP/s, from the makers' data sheets (figures "with sparsity" halved);
# the first name found in the device's name counts. TF32 runs at half of these on all of them.
_PEAKS = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A40": 149.7,
    "A10": 125.0,
    "RTX A6000": 154.8,
    "RTX 6000 Ada": 364.2,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}
_CPU_SECONDS = 0.2


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Operations a second that `device` can do at best in matrix products of `dtype`; None for an unknown accelerator.

    GPUs are looked up, float32 counting as TF32; a CPU is measured, with the threads that torch may use now.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        peak = next((peak for known, peak in _PEAKS.items() if known in name), None)
        return None if peak is None else 1e12 * (peak if dtype is torch.bfloat16 else peak / 2)
    return _measured_peak(dtype) if device.type == "cpu" else None


def _measured_peak(dtype: torch.dtype, size: int = 768) -> float:
    """The fastest of the products that fit into a fifth of a second: others may be using the cores."""
    a = torch.ones(size, size, dtype=dtype)
    fastest, end = float("inf"), time.perf_counter() + _CPU_SECONDS
    a @ a
    while True:
        start = time.perf_counter()
        a @ a
        now = time.perf_counter()
        fastest = min(fastest, now - start)
        if now > end:
            return 2 * size**3 / fastest


class Meter:
    """Rates over the last `window` steps. Time between steps counts, making their tasks included."""

    def __init__(self, window: int = 20):
        self._steps: deque[tuple[float, Cost]] = deque(maxlen=window)
        self._last: float | None = None

    def step(self, cost: Cost) -> None:
        """A step of this cost is done; the first one only starts the clock."""
        now = time.perf_counter()
        if self._last is not None:
            self._steps.append((now - self._last, cost))
        self._last = now

    def pause(self) -> None:
        """Something else happened since the last step, such as validation: the next one starts the clock again."""
        self._last = None

    @property
    def n_steps(self) -> int:
        """Steps that the rates rest on."""
        return len(self._steps)

    @property
    def seconds_per_step(self) -> float:
        return sum(seconds for seconds, _ in self._steps) / len(self._steps)

    def rates(self, peak: float | None, n_processes: int = 1) -> dict[str, float]:
        """What is logged; empty before the second step.

        Args:
            peak: operations a second of one device; None leaves the utilisation out.
            n_processes: processes that each did as much as this one.
        """
        if not self._steps:
            return {}
        seconds = sum(duration for duration, _ in self._steps)
        tables = sum(cost.tables for _, cost in self._steps) / seconds
        tokens = sum(cost.tokens for _, cost in self._steps) / seconds
        flops = sum(cost.flops for _, cost in self._steps) / seconds
        rates = {
            "tables_per_s": n_processes * tables,
            "tokens_per_s": n_processes * tokens,
            "tflops": n_processes * flops / 1e12,
        }
        return rates if peak is None else rates | {"flop_utilisation": flops / peak}
