"""Operations and memory in closed form against what torch counts, and the meter of throughput."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from icl.network import kernels
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.training import throughput
from icl.training.cost import Cost, mean_cost, training_cost
from icl.training.pretraining import task_loss
from icl.training.throughput import Meter, peak_flops
from priors import FunctionPrior, ShapeSampler, TaskShape

CONFIG = TabularConfig(d_embed=32, n_layers=3, n_heads=2, n_thinking_rows=4, n_bins=32)
OVERLAPPING = TabularConfig(d_embed=32, n_layers=3, n_heads=2, n_thinking_rows=4, n_bins=32, least_groups=8)
SHAPES = [TaskShape(4, 64, 32, 9), TaskShape(2, 40, 30, 30), TaskShape(1, 300, 240, 3)]


@pytest.fixture(scope="module", params=[CONFIG, OVERLAPPING], ids=["apart", "overlapping"])
def model(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TabularTransformer(request.param)


def task(shape, regression):
    prior = FunctionPrior(task="regression" if regression else "classification")
    return prior.sample(shape, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_operations_are_those_that_torch_counts(model, shape, regression, monkeypatch):
    """Training is three forward passes by convention; attention by plain products, which the counter knows."""
    monkeypatch.setattr(kernels, "_HAS_ONEDNN", False)  # whose products the counter does not know
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        task_loss(model, task(shape, regression))
    estimate = training_cost(model.config, shape, regression).flops / 3
    assert estimate == pytest.approx(counter.get_total_flops(), rel=0.03)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_is_what_autograd_keeps(model, shape, bf16):
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}  # by address; the tensors are held, so that no address is used twice

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    batch = task(shape, True)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        task_loss(model, batch)
    counted = sum(n_bytes for n_bytes, _ in kept.values())
    estimate = training_cost(model.config, shape, True, 2 if bf16 else 4, keeps_weights=bf16).activation_bytes
    assert estimate == pytest.approx(counted, rel=0.1)


def test_a_step_costs_the_mean_over_shapes_and_no_batch_more_than_the_largest():
    shapes = ShapeSampler(n_cells=600, rows=(16, 64), features=(1, 6))
    step, largest = mean_cost(CONFIG, shapes, n_batches=3)
    once, _ = mean_cost(CONFIG, shapes, n_batches=1)
    assert step.flops == pytest.approx(3 * once.flops) and step.tables == pytest.approx(3 * once.tables)
    assert 3 * 1 <= step.tables <= 3 * 32 and largest.activation_bytes > step.activation_bytes / 3
    # One shape only: the mean is that shape.
    fixed = ShapeSampler(n_cells=320, rows=(16, 16), features=(5, 5), context_share=(0.5, 0.5))
    only, _ = mean_cost(CONFIG, fixed, n_batches=1)
    assert only.flops == pytest.approx(training_cost(CONFIG, TaskShape(4, 16, 8, 5), True).flops)


def test_the_meter_counts_steps_and_not_pauses(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    meter, cost = Meter(window=2), Cost(flops=6e12, tokens=1000.0, tables=10.0, activation_bytes=0.0)
    meter.step(cost)
    assert meter.rates(peak=12e12) == {}
    for seconds in (100.0, 2.0, 2.0):  # the first leaves the window
        now[0] += seconds
        meter.step(cost)
    assert meter.seconds_per_step == 2.0
    rates = meter.rates(peak=12e12, n_processes=2)
    assert rates == {"tables_per_s": 10.0, "tokens_per_s": 1000.0, "tflops": 6.0, "flop_utilisation": 0.25}
    meter.pause()  # a validation of an hour
    now[0] += 3600
    meter.step(cost)
    assert meter.rates(peak=None)["tables_per_s"] == 5.0
    assert "flop_utilisation" not in meter.rates(peak=None)


def test_the_peak_is_measured_on_a_cpu_and_looked_up_on_a_gpu(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert 1e8 < peak_flops(cpu, torch.float32) < 1e14
    for name, bf16 in (
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert peak_flops(cuda, torch.bfloat16) == bf16
        assert peak_flops(cuda, torch.float32) == bf16 / 2
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Unheard-of 1")
    assert peak_flops(cuda, torch.bfloat16) is None
