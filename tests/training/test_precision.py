"""bf16 on CPUs with units for it: chosen by the processor, close to float32, and resumed bit for bit."""

import pytest
import torch
from helpers import InterruptAt
from torch.testing import assert_close
from training_runs import assert_same_state, fit, state_of

from icl.network import kernels
from icl.training import precision
from icl.training.precision import Bf16WhereFast
from icl.training.pretraining import task_loss
from priors import LinearPrior, TaskShape

pytestmark = [
    # As in test_training.py.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
PLUGIN = {"trainer:\n": "trainer:\n  plugins: [{class_path: icl.training.precision.Bf16WhereFast}]\n"}


@pytest.fixture
def units(monkeypatch):
    """units(True): a CPU with bf16 units, whatever this one has; it computes the same without, only slower."""
    return lambda has: monkeypatch.setattr(precision, "has_bf16_units", lambda: has)


@pytest.mark.parametrize(
    ("has", "name", "dtype"), [(True, "bf16-mixed", torch.bfloat16), (False, "32-true", torch.float32)]
)
def test_the_processor_decides(units, has, name, dtype):
    units(has)
    plugin = Bf16WhereFast()
    with plugin.forward_context():
        assert torch.nn.Linear(4, 4)(torch.ones(2, 4)).dtype is dtype
    assert plugin.precision == name


def test_fused_attention_in_bf16_is_that_of_float32(seeded):
    q, k, v = (torch.randn(3, 2, n, 8, generator=seeded(n)) for n in (40, 30, 30))
    short = [x.bfloat16().requires_grad_() for x in (q, k, v)]
    exact = [x.detach().float().requires_grad_() for x in short]
    ours, theirs = kernels.fused_attention(*short), kernels.fused_attention(*exact)
    assert ours.dtype is torch.float32
    assert_close(ours, theirs, rtol=0, atol=0)
    ours.sum().backward()
    theirs.sum().backward()
    for a, b in zip(short, exact):
        assert_close(a.grad.float(), b.grad, rtol=1e-2, atol=1e-2)


def test_gradients_are_those_of_float32_up_to_rounding(tiny_model, seeded, units):
    units(True)
    batch = LinearPrior().sample(TaskShape(4, 60, 40, 6), seeded(0))

    def gradient(context) -> torch.Tensor:
        tiny_model.zero_grad()
        with context:
            loss = task_loss(tiny_model, batch)
        loss.backward()
        return torch.cat([p.grad.flatten() for p in tiny_model.parameters() if p.grad is not None])

    try:
        with torch.random.fork_rng(devices=[]):
            exact, short = gradient(torch.autocast("cpu", enabled=False)), gradient(Bf16WhereFast().forward_context())
    finally:
        tiny_model.zero_grad()
    error = float((short - exact).norm() / exact.norm())
    assert 0 < error < 0.1  # rounded, but the same direction


def test_a_resumed_run_in_bf16_equals_an_unbroken_one(tmp_path, units):
    units(True)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    fit(whole, "--trainer.max_steps=4", changes=PLUGIN)
    fit(parts, "--trainer.max_steps=4", callbacks=[InterruptAt(1)], changes=PLUGIN)
    fit(parts, "--trainer.max_steps=4", "--ckpt_path=last", changes=PLUGIN)
    ours, theirs = state_of(whole), state_of(parts)
    assert_same_state(ours, theirs)
