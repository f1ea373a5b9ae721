"""bf16 on CPUs with units for it: chosen by the processor, close to float32, and resumed bit for bit."""

import pytest
import torch
from helpers import InterruptAt
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


@pytest.mark.parametrize("most_scores", [kernels.MOST_SCORES, 0])  # by products; by PyTorch's kernel where too many
@pytest.mark.parametrize("tile", [kernels.TILE, 2500])  # in one part; in parts of two tasks and heads
@pytest.mark.parametrize("shapes", [(3, 40, 30), (5, 7, 7), (1, 1, 50)])
def test_attention_in_bf16_is_that_of_float32_up_to_rounding(seeded, monkeypatch, shapes, tile, most_scores):
    """Also where only some of what it reads is in bf16: queries are float32 once they are scaled."""
    monkeypatch.setattr(kernels, "TILE", tile)
    monkeypatch.setattr(kernels, "MOST_SCORES", most_scores)
    n_tasks, n_queries, n_keys = shapes
    q, k, v = (torch.randn(n_tasks, 2, n, 8, generator=seeded(n)) for n in (n_queries, n_keys, n_keys))
    exact = [x.bfloat16().float().requires_grad_() for x in (q, k, v)]
    theirs = kernels.fused_attention(*exact)
    upstream = torch.randn(theirs.shape, generator=seeded(9))
    expected = torch.autograd.grad(theirs, exact, upstream)
    for mixed in (False, True):
        short = [x.detach().bfloat16().to(x.dtype if mixed and i == 0 else torch.bfloat16) for i, x in enumerate(exact)]
        short = [x.requires_grad_() for x in short]
        with torch.autocast("cpu", torch.bfloat16):
            ours = kernels.fused_attention(*short)
        assert ours.dtype is torch.bfloat16  # one type, whichever way it came
        assert float((ours - theirs).detach().norm()) < 0.01 * float(theirs.detach().norm())
        for a, b in zip(torch.autograd.grad(ours, short, upstream.to(ours.dtype)), expected):
            assert float((a.float() - b).norm()) < 0.015 * float(b.norm())


@pytest.mark.parametrize("shapes", [(0, 7), (7, 0), (0, 0)])
def test_attention_in_bf16_of_no_queries_or_to_no_keys_is_that_of_float32(seeded, shapes):
    q, k, v = (torch.randn(2, 3, n, 8, generator=seeded(n)) for n in (shapes[0], shapes[1], shapes[1]))
    expected = kernels.fused_attention(q, k, v)
    short = [x.bfloat16().requires_grad_() for x in (q, k, v)]
    ours = kernels.fused_attention(*short)
    assert ours.shape == expected.shape and torch.equal(ours.float(), expected)
    assert all(g.isfinite().all() for g in torch.autograd.grad(ours.sum(), short))


def test_the_network_in_training_answers_no_queries_in_bf16_too(tiny_model, seeded):
    X, y = torch.randn(2, 12, 5, generator=seeded(0)), torch.zeros(2, 12, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        assert tiny_model(X, y, n_classes=2).shape[:2] == (2, 0)


@pytest.mark.parametrize(
    ("autocast", "given", "kept"),
    [
        (torch.bfloat16, torch.float32, torch.bfloat16),
        (torch.bfloat16, torch.float64, torch.float64),
        (torch.float16, torch.float32, torch.float16),
        (None, torch.float32, torch.float32),
        (None, torch.bfloat16, torch.bfloat16),
    ],
)
def test_attention_has_the_type_that_pytorchs_has(seeded, autocast, given, kept):
    q, k, v = (torch.randn(2, 3, 5, 8, generator=seeded(n)).to(given) for n in range(3))
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        theirs, ours = torch.nn.functional.scaled_dot_product_attention(q, k, v), kernels.fused_attention(q, k, v)
    assert ours.dtype is theirs.dtype is kept


@pytest.mark.parametrize("most_scores", [kernels.MOST_SCORES, 0])
def test_bf16_goes_by_products_unless_the_scores_are_too_many(seeded, monkeypatch, most_scores):
    monkeypatch.setattr(kernels, "MOST_SCORES", most_scores)
    taken = []
    monkeypatch.setattr(kernels, "_weighed", lambda *args, real=kernels._weighed: taken.append(1) or real(*args))
    q, k, v = (torch.randn(2, 3, 5, 8, generator=seeded(n)) for n in range(3))
    kernels.fused_attention(q, k, v)
    assert not taken
    with torch.autocast("cpu", torch.bfloat16):
        kernels.fused_attention(q, k, v)
    assert bool(taken) == bool(most_scores)


def test_values_may_be_wider_than_queries_and_weights_take_no_gradient(seeded):
    q, k, v = (torch.randn(2, 3, 5, d, generator=seeded(d)).bfloat16().requires_grad_() for d in (4, 4, 6))
    assert kernels.fused_attention(q, k, v).shape == (2, 3, 5, 6)
    assert not kernels._weighed(*(x.flatten(0, 1) for x in (q, k, v)))[1].requires_grad


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of its own checks
@pytest.mark.parametrize("tile", [kernels.TILE, 60])
def test_attention_by_products_keeps_the_rules_of_an_operator(seeded, monkeypatch, tile):
    """Aliases nothing, says what it returns, and is traced with its gradient for shapes that vary."""
    monkeypatch.setattr(kernels, "TILE", tile)
    q, k, v = (torch.randn(3, n, 4, generator=seeded(n)).bfloat16().requires_grad_() for n in (5, 6, 6))
    torch.library.opcheck(kernels._weighed, (q, k, v), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("regression", [True, False])
def test_what_the_network_is_shown_is_not_rounded(tiny_model, seeded, regression):
    """The first block reads the same tokens as in float32: of a target in 8 bits gradients were off by a quarter."""
    X, y = torch.randn(2, 12, 5, generator=seeded(0)), torch.randn(2, 8, generator=seeded(1))
    seen = []
    hook = tiny_model.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    try:
        for in_bf16 in (True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
                tiny_model(X, y if regression else (y > 0).long(), n_classes=None if regression else 2)
    finally:
        hook.remove()
    short, exact = seen
    assert short.dtype is torch.float32 and torch.equal(short, exact)


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
