"""What the script of a GPU slot decides and keeps; one slot in small, by the trainer itself."""

import json
import time
import zipfile

import pandas as pd
import pytest
import torch
from training_runs import ROOT

from benchmarks import gpu_slot, slot_batch, slot_folder
from benchmarks.slot_batch import Pace, Trial, choose, measured, sized, tried, within
from benchmarks.slot_folder import Slot
from benchmarks.slot_scores import means
from icl.releases.folder import load_release
from icl.training import throughput
from icl.training.configuration import overlaid, read_configuration

pytestmark = [
    # As in test_training.py.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


@pytest.fixture(autouse=True)
def just_begun(monkeypatch):
    """The process of the tests is older than the minutes that these slots have."""
    monkeypatch.setattr(slot_folder, "age", lambda: 0.0)


def trial(n_cells: int, tables_per_s: float, memory: int = 0, **more) -> Trial:
    return Trial(n_cells, False, tables_per_s, memory=memory, **more)


def test_the_smallest_batch_that_is_nearly_as_fast_is_chosen():
    trials = [trial(32, 500, 10), trial(64, 920, 20), trial(128, 1_000, 40), trial(256, 990, 80)]
    assert choose(trials).n_cells == 64
    assert choose(trials[:1] + [trial(64, 600)]).n_cells == 64
    fast = [*trials, trial(512, 2_000, 200)]
    assert choose(fast, memory=100).n_cells == 64 and choose(fast).n_cells == 512
    assert choose([trial(32, 5), trial(64, 0, error="OutOfMemoryError: ...")]).n_cells == 32
    with pytest.raises(RuntimeError, match=r"no batch size ran: 32 cells, eager: Boom"):
        choose([trial(32, 0, error="Boom")])


def test_steps_that_compile_do_not_count_and_the_share_of_a_draw_does():
    pace = Pace(1.0)
    pace.steps = [(9.0, 50), (0.1, 40), (0.1, 60), (30.0, 50), (0.1, 50), (0.2, 50)]
    pace.draw = 6.4
    assert pace.ordinary() == [(0.1, 40), (0.1, 60), (0.1, 50), (0.2, 50)]
    found = measured(1_000, True, pace, type("Data", (), {"draws_together": 8})())
    assert found.tables_per_s == pytest.approx(200 / (0.5 + 4 * 6.4 / 64)) and found.tables_per_step == 50
    assert found.seconds_lost == pytest.approx(39.0)


def test_larger_batches_hold_as_many_more_tasks():
    config = read_configuration(ROOT / "configs" / "base.yaml")
    assert sized(config, 128_000) == {"n_cells": 128_000, "max_tasks": 512}


def test_a_way_that_takes_too_long_or_fails_is_left(monkeypatch):
    with pytest.raises(TimeoutError, match="not done in 0 s"), within(0.05):
        time.sleep(5)
    with within(0):
        pass
    config = {"data": {"shapes": {"n_cells": 10, "max_tasks": 1}}}
    monkeypatch.setattr(slot_batch, "built", lambda *_: 1 / 0)
    assert tried(config, 20, True, 1.0).error == "ZeroDivisionError: division by zero"


def test_what_is_too_large_stays_behind_and_no_file_is_in_pieces(tmp_path, monkeypatch):
    slot = Slot(tmp_path / "out", tmp_path / "work", 1.0, torch.device("cpu"))
    assert slot.put("a", b"old") and 30 < slot.end - time.monotonic() <= 60
    monkeypatch.setattr(slot_folder, "LARGEST_FILE", 5)
    assert not slot.put("a", b"larger than that")
    assert (tmp_path / "out" / "a").read_bytes() == b"old"
    slot.note(step=1)
    slot.note(other=2)
    assert {"step": 1, "other": 2}.items() <= json.loads((tmp_path / "out" / "slot.json").read_text()).items()
    assert "a is left out" in (tmp_path / "out" / "log.txt").read_text()


def test_means_are_over_the_tables_that_both_answered():
    rows = pd.DataFrame(
        {
            "dataset": ["a", "b", "a", "c"],
            "weights": ["before", "before", "after", "after"],
            "auc": [0.8, 0.1, 0.9, 0.2],
        }
    )
    assert means(rows) == {"before": {"tables": 1, "auc": 0.8}, "after": {"tables": 1, "auc": 0.9}}
    assert means(rows[:2])["before"] == {"tables": 2, "auc": 0.45}


def test_a_slot_in_small_leaves_all_it_promises(tmp_path, monkeypatch):
    """A tiny network for a second: probe, training to the deadline, weights, state, curve, facts, scores."""
    tiny = {
        "model": {"model": {"d_embed": 16, "n_layers": 1, "n_heads": 2, "n_thinking_rows": 2, "n_bins": 16}},
        "data": {
            "priors": [{"class_path": "priors.LinearPrior"}],
            "shapes": {"n_cells": 300, "rows": [16, 32], "features": [1, 4]},
        },
        "trainer": {"enable_model_summary": False, "log_every_n_steps": 1},
    }
    whole = gpu_slot.configuration

    def configuration(options):
        config = overlaid(whole(options), tiny)
        del config["model"]["init_from"]  # base's weights are of another size
        return config

    monkeypatch.setattr(gpu_slot, "configuration", configuration)
    monkeypatch.setattr(gpu_slot, "scored", lambda *_: pd.DataFrame({"dataset": ["a"], "auc": [0.5]}))
    compiled: list = []  # by nothing, which is quicker
    monkeypatch.setattr("icl.training.pretraining.compile_blocks", compiled.append)
    monkeypatch.setattr(throughput, "_CPU_SECONDS", 0.02)
    words = [
        "--small",
        "--tests",
        "",
        "--compile",
        "on",
        "--n_cells",
        "150",
        "300",
        "--probe_seconds",
        "0.05",
        "--score_seconds",
        "0",
    ]
    folders = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    nano = ["--start", str(ROOT / "checkpoints" / "nano")]
    with torch.random.fork_rng(devices=[]):
        gpu_slot.main([*words, *folders, *nano, "--minutes", "0.05", "--margin", "0"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"release.zip", "state.ckpt", "curve.csv", "scores.csv", "slot.json", "log.txt"}
    facts = json.loads((tmp_path / "out" / "slot.json").read_text())
    assert facts["kept"]["step"] == facts["trained"]["steps"] > 0 and facts["chosen"]["n_cells"] in (150, 300)
    assert compiled and [t["compiled"] for t in facts["trials"]][-1] and not any(t["error"] for t in facts["trials"])
    assert set(facts["scores"]) == {"before", "after"} and facts["seconds"] < 20
    with zipfile.ZipFile(tmp_path / "out" / "release.zip") as archive:
        archive.extractall(tmp_path / "release")
    assert load_release(tmp_path / "release").config.d_embed == 16
    provenance = json.loads((tmp_path / "release" / "provenance.json").read_text())
    assert provenance["averaged_weights"] and provenance["steps"] == facts["kept"]["step"]
    state = torch.load(tmp_path / "out" / "state.ckpt", weights_only=True)
    assert state["optimizer_states"] and state["global_step"] == facts["kept"]["step"]
    assert (pd.read_csv(tmp_path / "out" / "curve.csv")["tables_per_s"].dropna() > 0).all()
