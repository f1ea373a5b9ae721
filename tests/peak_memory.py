"""Peak resident memory of predictions beside its estimate, in bytes; `test_forward.py` runs it in a process of its own.

One line each: NAME MEASURED ESTIMATE.
"""

import ctypes
from pathlib import Path

import lean  # noqa: F401 - first
import numpy as np
import torch

from icl import ICLClassifier
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.prediction.forward import Context, answer
from icl.prediction.memory import Footprint


def memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_of(work) -> int:
    """Bytes at the peak of `work`, beyond what was resident before."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier work has freed, this one shall not find
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    kept = work()
    peak = memory("VmHWM") - before
    del kept
    return peak


def one(name: str, fit_mode: str, n_context: int, n_features: int, rng) -> None:
    model = TabularTransformer(TabularConfig(d_embed=64, n_layers=2, n_heads=2)).eval()
    X = rng.normal(size=(n_context, n_features)).astype(np.float32)
    flags = np.zeros(n_features, dtype=bool)
    context = Context(X, np.arange(n_context) % 2, flags, 2)
    size, keep = Footprint.of(model, n_context, n_features, 1), fit_mode == "auto"
    peak = peak_of(lambda: answer(model, [context], [X[:500]], 4.0, fit_mode))
    print(name, peak, size.one_pass(500, keep) + keep * size.cache, flush=True)


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    one("warm_up", "low_memory", 1_000, 12, rng)
    for fit_mode in ("low_memory", "auto"):
        one(fit_mode, fit_mode, 2_000, 60, rng)
    model = TabularTransformer(TabularConfig(d_embed=16, n_layers=1, n_heads=1)).eval()
    X = rng.normal(size=(40_000, 6))
    estimator = ICLClassifier(model, n_estimators=1, device="cpu").fit(X[:50], np.arange(50) % 2)
    for n_rows in (10_000, 40_000):
        print(f"{n_rows}_rows", peak_of(lambda: estimator.predict_proba(X[:n_rows])), 0)  # noqa: B023


if __name__ == "__main__":
    main()
