"""A training step on the device is that of the CPU; runs there average, stop and go on as they do here."""

import copy

import lightning as L
import pytest
import torch
from torch.testing import assert_close
from training_runs import state_of, tiny_configuration
from weights import perturbed

from icl.network import kernels
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.training.callbacks import MovingAverage
from icl.training.compiled import compile_blocks
from icl.training.configuration import built
from icl.training.optim import MuonAdamW, OptimConfig
from icl.training.pretraining import task_loss
from icl.training.steps import sample_step
from priors import MixturePrior, ShapeSampler, TaskBatch

pytestmark = [
    pytest.mark.gpu,
    # As in test_training.py.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]
STEPS = 6


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TabularTransformer(TabularConfig(d_embed=32, n_layers=2, n_heads=2))
    return perturbed(model, torch.Generator().manual_seed(1), 0.05).train()


@pytest.fixture(scope="module")
def batches():
    priors = [MixturePrior(task="classification"), MixturePrior(task="regression")]
    return sample_step(priors, ShapeSampler(n_cells=3_000, rows=(32, 128), features=(3, 12)), seed=0, step=1)


def losses_and_gradient(model: TabularTransformer, batches: list[TaskBatch]) -> tuple[torch.Tensor, torch.Tensor]:
    """On the CPU, whatever the model is on."""
    model.zero_grad()
    losses = torch.stack([task_loss(model, batch.to(model.device)) for batch in batches])
    losses.mean().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return losses.detach().cpu(), gradient.cpu()


def error_of(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def test_a_step_in_float32_is_that_of_the_cpu(network, batches, device, exact):
    here, there = copy.deepcopy(network), copy.deepcopy(network).to(device)
    (losses, gradient), (ours, own) = (losses_and_gradient(model, batches) for model in (here, there))
    assert_close(ours, losses, rtol=1e-4, atol=1e-4)
    assert error_of(own, gradient) < 1e-3
    before = torch.cat([p.detach().flatten() for p in network.parameters()])
    for model in (here, there):
        MuonAdamW(model, OptimConfig()).step()
    after = [torch.cat([p.detach().flatten().cpu() for p in model.parameters()]) - before for model in (here, there)]
    # Muon makes matrices orthogonal in bf16, and AdamW's first step keeps no more of a gradient than its sign.
    assert error_of(after[1], after[0]) < 0.1 and after[0].norm() > 0


def test_a_step_under_bf16_is_that_of_float32_up_to_rounding(network, batches, device):
    losses, gradient = losses_and_gradient(copy.deepcopy(network), batches)
    with torch.autocast(device.type, torch.bfloat16):
        ours, own = losses_and_gradient(copy.deepcopy(network).to(device), batches)
    assert_close(ours, losses, rtol=0.02, atol=0.02)
    assert 0 < error_of(own, gradient) < 0.1


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # dynamo's look at it
def test_a_compiled_step_is_the_eager_one(network, batches, device, exact):
    """By Inductor on a device; on a CPU, where that takes minutes, by the graphs alone."""
    eager, compiled = copy.deepcopy(network).to(device), copy.deepcopy(network).to(device)
    torch.compiler.reset()
    compile_blocks(compiled, **({"backend": "aot_eager"} if device.type == "cpu" else {}))
    (losses, gradient), (ours, own) = (losses_and_gradient(model, batches) for model in (eager, compiled))
    torch.compiler.reset()
    assert_close(ours, losses, rtol=1e-4, atol=1e-4)
    assert error_of(own, gradient) < 1e-3


def test_attention_of_more_rows_than_a_device_takes(device, monkeypatch):
    """70,000 rows, the first and the last of which are looked at one by one."""
    monkeypatch.setitem(kernels.MOST_ROWS, "cpu", 65_535)
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(70_000, 2, 3, 16, generator=g).to(device).requires_grad_() for _ in range(3))
    whole = kernels.fused_attention(q, k, v)
    whole.square().sum().backward()
    ends = torch.tensor([0, 65_534, 65_535, 69_999], device=device)
    few = [x.detach()[ends].double().requires_grad_() for x in (q, k, v)]
    expected = torch.softmax(few[0] @ few[1].transpose(-1, -2) / 4, -1) @ few[2]
    expected.square().sum().backward()
    assert_close(whole[ends].double(), expected, rtol=1e-3, atol=1e-3)
    for all_rows, some in zip((q, k, v), few):
        assert_close(all_rows.grad[ends].double(), some.grad, rtol=1e-3, atol=1e-3)


class Watched(L.Callback):
    """The loss of each step, and where the averages lie; `ends_at` is the step at which the run is killed."""

    def __init__(self, ends_at: int = -1):
        self.ends_at, self.losses, self.places = ends_at, {}, set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses[trainer.global_step] = float(outputs["loss"])
        [average] = [callback for callback in trainer.callbacks if isinstance(callback, MovingAverage)]
        self.places |= {p.device.type for p in average._average_model.parameters()}
        if trainer.global_step == self.ends_at:
            raise MemoryError("killed")


def trained(folder, device, **options) -> Watched:
    watched = Watched(options.pop("ends_at", -1))
    accelerator = {"accelerator": "gpu" if device.type == "cuda" else "cpu"}
    config = tiny_configuration(folder, STEPS, **accelerator)
    config["model"]["compile"] = False
    with torch.random.fork_rng():
        run = built(config, [watched])
        run.trainer.fit(run.module, run.data, **options)
    return watched


def test_a_run_that_was_killed_goes_on_as_one_that_was_not(device, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    unbroken = trained(whole, device)
    with pytest.raises(MemoryError):
        trained(parts, device, ends_at=4)
    assert state_of(parts)["global_step"] == 3  # step 4 was not saved yet
    resumed = trained(parts, device, ckpt_path=str(parts / "checkpoints" / "last.ckpt"))
    assert unbroken.places == {device.type}
    assert sorted(resumed.losses) == [4, 5, 6]
    for step, loss in resumed.losses.items():  # what is added up in another order differs in the last bits
        assert loss == pytest.approx(unbroken.losses[step], rel=2e-3)
    one, other = state_of(whole), state_of(parts)
    assert one["global_step"] == other["global_step"] == STEPS
    assert one["progress"]["tasks_seen"] == other["progress"]["tasks_seen"]
    for name, value in one["state_dict"].items():
        assert_close(other["state_dict"][name], value, rtol=0, atol=5e-3)
