"""Training end to end on a tiny model: resuming, interruption, losses that are no numbers, the log, the release."""

import copy
import json
import math
import shutil

import pandas as pd
import pytest
import torch
from helpers import InterruptAt, PoisonAt
from torch.testing import assert_close
from training_runs import assert_same_state, fit, state_of

from icl.releases.folder import load_release
from icl.releases.provenance import read_provenance
from icl.training import compiled
from icl.training.compiled import compile_blocks
from icl.training.optim import MuonAdamW, OptimConfig
from icl.training.pretraining import PretrainingModule, task_loss
from icl.training.steps import sample_step
from icl.training.stream import TaskDataModule
from priors import CompanionColumns, MixturePrior, ShapeSampler

pytestmark = [
    # lightning 2.6 calls functions that jsonargparse 4.49 and torch 2.13 have deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    # The tests resume in the folder of the run they resume, which is not empty, and sample in their own process.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
TINY_MODEL = {"d_embed": 16, "n_layers": 1, "n_heads": 2}


def logged(column: pd.Series) -> pd.Series:
    """What was written into a column of the log, of which there must be something."""
    values = column.dropna()
    assert len(values)
    return values


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of eight steps by one process."""
    folder = tmp_path_factory.mktemp("finished")
    fit(folder, "--trainer.max_steps=8", "--data.n_family_batches=1", "--data.validate_on_real_tables=true")
    return folder


@pytest.fixture(scope="module")
def log(finished):
    [file] = finished.glob("log/version_*/metrics.csv")
    return pd.read_csv(file)


def test_a_run_ends_with_a_release(finished):
    model = load_release(finished / "release")
    assert model.config.d_embed == 16
    assert all(p.isfinite().all() for p in model.parameters())
    provenance = json.loads((finished / "release" / "provenance.json").read_text())
    assert provenance["steps"] == 8 and provenance["tasks_seen"] >= 24 and provenance["seed"] == 0
    assert provenance["averaged_weights"] is True and provenance["precision"] == "32-true"
    assert "MixturePrior" in (finished / "release" / "training.yaml").read_text()


def test_a_finished_run_can_be_extended(finished):
    """The last step is saved whatever the interval; its weights are those of training, not the averages."""
    state = state_of(finished)
    assert state["global_step"] == 8
    averages = load_release(finished / "release").state_dict()
    for name, value in averages.items():
        assert_close(state["state_dict"][f"model.{name}"], value, rtol=2e-3, atol=1e-4)  # stored in float16
    assert any(not torch.equal(state["state_dict"][k], v) for k, v in state["current_model_state"].items())


def test_the_log_holds_losses_and_the_resolved_config_stands_beside_it(finished, log):
    for kind in ("classification", "regression"):
        assert logged(log[f"train/{kind}_loss"]).between(0, 10).all()
        assert len(log[f"val/{kind}_loss"].dropna()) == 2
    [file] = finished.glob("log/version_*/config.yaml")
    assert "MixturePrior" in file.read_text()
    assert list(finished.glob("tensorboard/version_*/events.out*"))


def test_the_log_holds_speed(log):
    rates = log[["tables_per_s", "tokens_per_s", "tflops", "flop_utilisation"]].dropna()
    assert len(rates) >= 5 and (rates > 0).all().all()
    assert (rates["flop_utilisation"] < 1).all()
    assert (rates["tokens_per_s"] > 16 * rates["tables_per_s"]).all()  # every table has 16 rows or more


def test_the_log_holds_every_family_and_the_real_tables(log):
    for family in ("scm", "mlp", "function", "tree", "additive", "clusters", "rules"):
        for kind in ("classification", "regression"):
            assert logged(log[f"val/{family}/{kind}_loss"]).between(0, 10).all()
    assert logged(log["val/real/iris/auc"]).between(0, 1).all()
    assert logged(log["val/real/r2"]).between(-3, 1).all()
    tables = ("iris", "wine", "breast_cancer", "digits")
    mean = sum(log[f"val/real/{table}/log_loss"].dropna() for table in tables) / 4
    assert mean.to_numpy() == pytest.approx(log["val/real/log_loss"].dropna().to_numpy(), rel=1e-5)


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(finished, tmp_path, monkeypatch):
    """ctrl-C in the middle of a step, then the same command: weights, averages, optimiser to the last bit.

    `last_or_new` begins the run, and goes on with it when it is repeated.
    """
    said: list[str] = []
    monkeypatch.setattr("icl.training.callbacks.rank_zero_info", said.append)
    fit(tmp_path, "--trainer.max_steps=8", "--ckpt_path=last_or_new", callbacks=[InterruptAt(3)])
    assert any("Interrupted after step 4; resume with --ckpt_path last" in line for line in said)
    assert state_of(tmp_path)["global_step"] == 4 and not (tmp_path / "release").exists()
    fit(tmp_path, "--trainer.max_steps=8", "--ckpt_path=last_or_new")
    assert_same_state(state_of(tmp_path), state_of(finished))


def test_a_shorter_run_replaces_no_longer_one(tmp_path, monkeypatch):
    """Of a trial run in the folders of a long one, both are there afterwards; runs of one length replace each other."""
    said: list[str] = []
    monkeypatch.setattr("icl.training.earlier.rank_zero_info", said.append)
    for steps in (3, 3, 1, 2):
        fit(tmp_path, f"--trainer.max_steps={steps}")
    steps = {path.name: read_provenance(path)["steps"] for path in tmp_path.glob("release*")}
    assert steps == {"release": 2, "release-1": 3}
    states = {path.name: torch.load(path)["global_step"] for path in (tmp_path / "checkpoints").glob("last*")}
    assert states == {"last.ckpt": 2, "last-1.ckpt": 3}
    assert len(said) == 2 and all("of an earlier run of 3 steps, and this one has 1: it is kept as" in s for s in said)
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"no checkpoint")
    (tmp_path / "release" / "provenance.json").write_text("{")
    fit(tmp_path, "--trainer.max_steps=1")  # damaged: no run to keep
    assert state_of(tmp_path)["global_step"] == 1


def test_one_process_taking_two_shares_counts_them(log, tmp_path):
    fit(tmp_path, "--trainer.max_steps=1", "--data.n_virtual_ranks=2")
    assert state_of(tmp_path)["progress"]["tasks_seen"] == 2 * log["tasks_seen"][0]


def _nano_stream():
    priors = [MixturePrior(), MixturePrior(), MixturePrior(task="regression")]
    return priors, ShapeSampler(n_cells=300, rows=(16, 32), features=(1, 4), context_share=(0.3, 0.9)), 0


def test_a_loss_that_is_no_number_stops_the_run_before_it_reaches_a_weight(finished, tmp_path):
    with pytest.raises(FloatingPointError, match=r"gradient became nan at step 3.*--ckpt_path last"):
        fit(tmp_path, "--trainer.max_steps=8", callbacks=[PoisonAt(3)])
    state = state_of(tmp_path)
    assert state["global_step"] == 3
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    fit(tmp_path, "--trainer.max_steps=8", "--ckpt_path=last")  # without the poison
    assert_same_state(state_of(tmp_path), state_of(finished))


def test_what_a_message_promises_exists(tmp_path):
    """No checkpoint to resume from: not one that is named by an error, not one that `--ckpt_path last` would find."""
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*last\.ckpt: nothing was interrupted"):
        fit(tmp_path, "--trainer.max_steps=2", "--ckpt_path=last")
    with pytest.raises(FloatingPointError, match=r"nan at step 0.*There is no checkpoint yet: start again with"):
        fit(tmp_path, "--trainer.max_steps=2", callbacks=[PoisonAt(0)])
    assert not (tmp_path / "release").exists() and not (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_weights_that_are_not_finite_are_never_saved():
    module = PretrainingModule(TINY_MODEL)
    module.on_save_checkpoint({})
    with torch.no_grad():
        module.model.norm.weight[3] = torch.inf
    with pytest.raises(FloatingPointError, match=r"norm\.weight is not finite"):
        module.on_save_checkpoint({})


def test_validation_uses_the_averaged_weights(tmp_path):
    """With a decay of 1 the averages stay those of the first step, so the second check must repeat the first."""
    options = ["--trainer.max_steps=8", "--trainer.val_check_interval=3"]
    fit(tmp_path, *options, changes={"decay: 0.998": "decay: 1.0"})
    [file] = tmp_path.glob("log/version_*/metrics.csv")
    losses = pd.read_csv(file)["val/regression_loss"].dropna()
    state = state_of(tmp_path)
    assert len(losses) == 3 and losses.nunique() == 1  # after steps 3, 6 and the last
    moved = [not torch.equal(state["state_dict"][k], v) for k, v in state["current_model_state"].items()]
    assert any(moved)


def test_bf16_trains_and_measures_targets_in_float32(tmp_path):
    fit(tmp_path, "--trainer.max_steps=4", "--trainer.precision=bf16-mixed")
    [file] = tmp_path.glob("log/version_*/metrics.csv")
    assert logged(pd.read_csv(file)["train/regression_loss"]).between(0, 10).all()
    state = state_of(tmp_path)
    assert all(v.dtype is torch.float32 and v.isfinite().all() for v in state["current_model_state"].values())


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_bf16_loss_is_the_float32_loss_up_to_rounding(task):
    """Statistics, ranks, bins and losses in float32: a wrong bin for a target would show as tenths of a nat."""
    module = PretrainingModule({"d_embed": 32, "n_layers": 2, "n_heads": 2})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.model.parameters():  # zero outputs would hide every rounding
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    [batch] = sample_step([MixturePrior(task=task)], ShapeSampler(n_cells=4000), seed=0, step=1)
    if task == "regression":
        batch.y.add_(1e4)  # nine bits before the point leave bf16 none after it
    exact = task_loss(module.model, batch).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = task_loss(module.model, batch).detach()
    assert rounded.dtype is torch.float32
    assert 0 < abs(float(exact - rounded)) < 0.02 * abs(float(exact))


def test_settings_that_cannot_work_are_refused(tmp_path):
    module = PretrainingModule(TINY_MODEL)
    module.trainer = type("Trainer", (), {"accumulate_grad_batches": 2, "precision": "32-true"})()
    with pytest.raises(ValueError, match="n_virtual_ranks"):
        module.setup("fit")
    module.trainer = type("Trainer", (), {"accumulate_grad_batches": 1, "precision": "16-mixed"})()
    with pytest.raises(ValueError, match="bf16-mixed"):
        module.setup("fit")
    for precision in ("bf16-true", "16-true", "64-true"):
        module.trainer = type("Trainer", (), {"accumulate_grad_batches": 1, "precision": precision})()
        with pytest.raises(ValueError, match=f"{precision} is not supported; use bf16-mixed"):
            module.setup("fit")
    data = TaskDataModule(shapes=ShapeSampler(features=(2, 5)), companions=CompanionColumns(max_features=120))
    for widest, shapes in ((120, {}), (101, {"shapes": ShapeSampler(features=(2, 101)), "companions": None})):
        vars(data).update(shapes)
        trainer = {"accumulate_grad_batches": 1, "precision": "32-true", "datamodule": data}
        module.trainer = type("Trainer", (), trainer)()
        with pytest.raises(ValueError, match=f"may have {widest} features and the model is for 100"):
            module.setup("fit")
    with pytest.raises(OSError, match="no checkpoint"):
        fit(tmp_path, "--trainer.max_steps=2", "--model.init_from=/no/such/release")


def test_averaged_weights_follow_the_model_to_its_device():
    """On the meta device here, for want of another: Lightning's own would stay where the weights were made."""
    from icl.training.callbacks import MovingAverage

    module, average = PretrainingModule(TINY_MODEL), MovingAverage(decay=0.9)
    trainer = type("Trainer", (), {"strategy": None, "callbacks": []})()
    module._trainer = trainer
    average.setup(trainer, module, "fit")
    average.on_fit_start(trainer, module.to("meta"))
    assert {p.device.type for p in average._average_model.parameters()} == {"meta"}
    assert average.state_key == "EMAWeightAveraging"  # checkpoints are Lightning's


def test_a_resumed_run_needs_its_ancestor_no_more(finished, tmp_path):
    release = tmp_path / "ancestor"
    shutil.copytree(finished / "release", release)
    ancestor_tasks = json.loads((release / "provenance.json").read_text())["tasks_seen"]
    options = [f"--model.init_from={release}", "--trainer.max_steps=4"]
    fit(tmp_path, *options, callbacks=[InterruptAt(1)])
    shutil.rmtree(release)
    fit(tmp_path, *options, "--ckpt_path=last")
    provenance = json.loads((tmp_path / "release" / "provenance.json").read_text())
    assert provenance["init_from"]["release"] == "ancestor"
    assert provenance["init_from"]["tasks_seen"] == ancestor_tasks
    assert provenance["tasks_seen_in_all"] == ancestor_tasks + provenance["tasks_seen"]


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # dynamo's look at it
@pytest.mark.parametrize("autocast", [False, True])  # where attention is an operator of ours (`icl.network.kernels`)
def test_compiled_step_computes_the_same_loss_without_graph_breaks(autocast):
    """The graphs that torch.compile takes from the blocks, run without a compiler; one for all shapes of a kind."""
    model = PretrainingModule(TINY_MODEL).model
    other = copy.deepcopy(model)
    torch.compiler.reset()
    compile_blocks(other, fullgraph=True, backend="aot_eager")
    for step in range(3):
        for batch in sample_step(*_nano_stream()[:2], seed=1, step=step):
            losses = []
            for each in (model, other):
                each.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    losses.append(task_loss(each, batch))
                losses[-1].backward()
            assert_close(*losses)
            for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
                if theirs.grad is not None:
                    assert_close(ours.grad, theirs.grad)
    torch.compiler.reset()


def test_steps_are_compiled_where_a_gpu_can_and_where_it_is_asked_for(monkeypatch):
    """And the weights keep their names, so that checkpoints of both kinds of runs go on as the other."""
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: True)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert compiled.pays_on(torch.device("cuda")) and not compiled.pays_on(torch.device("cpu"))
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: False)
    assert not compiled.pays_on(torch.device("cuda"))
    by_dynamo = lambda model: compile_blocks(model, backend="eager")  # no compiler is loaded for it
    monkeypatch.setattr("icl.training.pretraining.compile_blocks", by_dynamo)
    for asked, is_default, wanted in (
        (None, False, False),
        (None, True, True),
        (False, True, False),
        (True, False, True),
    ):
        module = PretrainingModule(TINY_MODEL, compile=asked)
        names = list(module.state_dict())
        monkeypatch.setattr("icl.training.pretraining.pays_on", lambda device, answer=is_default: answer)
        module.on_fit_start()
        assert all((block._compiled_call_impl is not None) == wanted for block in module.model.blocks)
        assert list(module.state_dict()) == names == list(copy.deepcopy(module).state_dict())


@pytest.mark.slow
def test_training_compiles(tmp_path):
    """Needs a C++ compiler."""
    fit(tmp_path, "--trainer.max_steps=3", "--model.compile=true")
    assert state_of(tmp_path)["global_step"] == 3


def test_schedule_warms_up_holds_and_decays_to_zero():
    config = OptimConfig(warmup_steps=10, decay_share=0.2)
    rates = [config.rate_at(step, 100) for step in range(101)]
    assert rates[0] == 0.1 and rates[9] == 1 and rates[80] == 1 and math.isclose(rates[90], 0.5) and rates[100] == 0
    assert config.rate_at(10_000, -1) == 1
    with pytest.raises(ValueError, match="lr_muon"):
        OptimConfig(lr_muon=0)


def test_the_optimiser_moves_every_parameter_and_its_state_round_trips():
    module = PretrainingModule(TINY_MODEL)
    optimizer = MuonAdamW(module.model, OptimConfig())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in module.model.parameters()}
    before = [p.detach().clone() for p in module.model.parameters()]
    for p in module.model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, module.model.parameters(), strict=True))
    other = MuonAdamW(module.model, OptimConfig())
    other.load_state_dict(optimizer.state_dict())
    assert len(other.state_dict()["muon"]["state"]) == len(optimizer.state_dict()["muon"]["state"]) > 0
