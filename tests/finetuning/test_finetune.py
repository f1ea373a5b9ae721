"""Fine-tuning end to end on a tiny model: it helps, resumes exactly, keeps the best, refuses bad tables first."""

import json
import signal
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

import icl
from icl.commands.main import main
from icl.finetuning import FinetuneConfig, dry_run, finetune, plan, rate, run, tasks
from icl.finetuning import held_out as holdout
from icl.finetuning.held_out import split_tables
from icl.finetuning.method import Anchor, make_optimizer, make_trainable, merged_state, rates
from icl.finetuning.module import FinetuneModule
from icl.finetuning.sources import read_tables
from icl.finetuning.tables import encode_tables
from icl.releases.folder import load_release
from icl.releases.seen import seen_of
from icl.training import throughput

SHORT = FinetuneConfig(target="y", steps=6, check_every=2, max_rows=48, n_cells=200, lr=1e-2, replay=0.0, patience=9)


@pytest.fixture(scope="module", autouse=True)
def few_tasks():
    """...and the processor's peak, which no law here asks for, measured at a glance."""
    with pytest.MonkeyPatch.context() as patch:
        for place, name, few in (
            (holdout, "_PRIOR_STEPS", 1), (holdout, "_FEWEST_TASKS", 6), (throughput, "_CPU_SECONDS", 0.01)
        ):  # fmt: skip
            patch.setattr(place, name, few)
        yield


def make_table(seed: int, n: int = 60) -> pd.DataFrame:
    """`y` is yes where a + b > 0: a domain with one rule."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    return pd.DataFrame({"a": a, "b": b, "c": rng.choice(["u", "v", "w"], n), "y": np.where(a + b > 0, "yes", "no")})


@pytest.fixture(scope="module")
def tables():
    return {f"ward{k}": make_table(k) for k in range(4)}


@pytest.fixture(scope="module")
def finished(tiny_release, tables, tmp_path_factory):
    """Folder of an uninterrupted run, and what it said."""
    out, said = tmp_path_factory.mktemp("finetuned") / "mine", []
    finetune(tiny_release, tables, SHORT, out=out, report=said.append)
    return out, said


def facts_of(folder) -> dict:
    return json.loads((folder / "provenance.json").read_text())


def test_the_release_says_what_was_done(finished, tables):
    out, said = finished
    facts = facts_of(out)
    found = facts["finetuning"]
    assert [t["name"] for t in found["tables"]] == [n for n in tables if n not in found["held_out"]]
    assert len(found["held_out"]) == 1 and found["steps_run"] == 6
    assert facts["fingerprints"]["rows"] == 180
    assert found["held_out_loss"]["after"] < found["held_out_loss"]["before"]
    assert "fine-tuned on real ones" in (out / "README.md").read_text()
    assert "Loss on the held-out tables" in said[-1]
    assert not out.with_name("mine.run").exists()


def test_the_best_weights_are_kept_not_the_last(finished):
    out, _ = finished
    history = pd.read_csv(out / "finetuning.csv")
    assert history.step.tolist() == [0, 2, 4, 6]
    assert facts_of(out)["steps"] == history.step[history.loss.idxmin()]


def test_weights_that_do_not_help_are_not_released(tiny_release, tables, tmp_path):
    """At an absurd rate every step is worse, so the checkpoint itself is the best."""
    out = finetune(
        tiny_release, tables, FinetuneConfig(**vars(SHORT) | {"lr": 30.0, "patience": 1}), out=tmp_path / "x"
    )
    assert facts_of(out)["steps"] == 0 and facts_of(out)["finetuning"]["steps_run"] == 2  # patience ended it
    for name, value in load_release(tiny_release).state_dict().items():
        assert_close(load_release(out).state_dict()[name], value, rtol=1e-3, atol=1e-3)  # stored in float16
    assert "its weights are kept" in (out / "README.md").read_text()


@pytest.mark.parametrize("step", [1, 4])
def test_a_resumed_run_equals_an_uninterrupted_one(step, finished, tiny_release, tables, tmp_path, monkeypatch):
    """Interrupted between two checks, and exactly at one."""
    usual = FinetuneModule.training_step

    def interrupting(self, batches, batch_idx):
        if self.trainer.global_step == step - 1:
            signal.raise_signal(signal.SIGINT)
        return usual(self, batches, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "training_step", interrupting)
        with pytest.raises(KeyboardInterrupt, match=f"after step {step} of 6; give the same command"):
            finetune(tiny_release, tables, SHORT, out=tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    with pytest.raises(ValueError, match=r"l2_sp: 10\.0 then, 1\.0 now"):
        finetune(tiny_release, tables, FinetuneConfig(**vars(SHORT) | {"l2_sp": 1.0}), out=tmp_path / "mine")
    finetune(tiny_release, tables, SHORT, out=tmp_path / "mine")
    ours, theirs = load_release(tmp_path / "mine").state_dict(), load_release(finished[0]).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (tmp_path / "mine" / "finetuning.csv").read_text() == (finished[0] / "finetuning.csv").read_text()


@pytest.mark.parametrize("step", [0, 2, 6])  # the first check, one on the way, the last
def test_a_run_killed_while_it_validates_does_not_lose_that_check(
    step, finished, tiny_release, tables, tmp_path, monkeypatch
):
    usual = FinetuneModule.on_validation_epoch_end

    def dying(self):
        if self.trainer.global_step == step:
            raise SystemExit
        usual(self)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "on_validation_epoch_end", dying)
        with pytest.raises(SystemExit):
            finetune(tiny_release, tables, SHORT, out=tmp_path / "mine")
    finetune(tiny_release, tables, SHORT, out=tmp_path / "mine")
    ours, theirs = load_release(tmp_path / "mine").state_dict(), load_release(finished[0]).state_dict()
    assert (tmp_path / "mine" / "finetuning.csv").read_text() == (finished[0] / "finetuning.csv").read_text()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_killed_when_patience_has_ended_it_is_not_trained_on(tiny_release, tables, tmp_path, monkeypatch):
    config = FinetuneConfig(**vars(SHORT) | {"lr": 30.0, "patience": 1})

    def dying(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(run, "_release", dying)
        with pytest.raises(SystemExit):
            finetune(tiny_release, tables, config, out=tmp_path / "x")
    out = finetune(tiny_release, tables, config, out=tmp_path / "x")
    assert facts_of(out)["finetuning"]["steps_run"] == 2 and facts_of(out)["steps"] == 0


def test_the_rate_is_found_and_a_dry_run_writes_nothing(tiny_release, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rate, "_FEWEST_STEPS", 2)
    monkeypatch.setattr(tasks, "_MOST_TASKS", 2)
    (tmp_path / "wards").mkdir()
    for k in range(3):
        make_table(k, 40).to_csv(tmp_path / "wards" / f"ward{k}.csv", index=False)
    options = ["wards", "--target", "y", "--checkpoint", str(tiny_release), "--out", "mine", "--steps", "2",
               "--replay", "0", "--max_rows", "40"]  # fmt: skip
    assert main(["finetune", *options, "--dry_run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "ward0.csv: 40 rows, 3 columns" in shown and "held out" in shown
    assert "MB of activations" in shown and "time: at most" in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wards"]
    assert main(["finetune", *options]) == 0
    assert "rate 0.001: held-out loss" in capsys.readouterr().out
    found = facts_of(tmp_path / "mine")["finetuning"]
    best = min(found["rate_trials"], key=lambda t: t["loss"])
    assert found["lr"] in (best["lr"], 1e-4)


@pytest.mark.parametrize("method", ["full", "last_blocks", "lora"])
def test_only_what_the_method_names_moves(method, tiny_model, tables):
    """One step of the plain loop; then LoRA's additions merge into weights that answer alike."""
    import copy

    from icl.finetuning.rate import short_run
    from icl.finetuning.stream import task_stream

    config = FinetuneConfig(**vars(SHORT) | {"method": method, "n_blocks": 1, "lora_rank": 2, "l2_sp": 0.0})
    encoded = encode_tables(tables, config, 5)
    model = copy.deepcopy(tiny_model)
    short_run(model, task_stream(encoded, config, model.config), config, 1e-2, 3)
    merged, before = merged_state(model), tiny_model.state_dict()
    moved = {name for name in before if not torch.equal(merged[name], before[name])}
    assert set(merged) == set(before)
    blocks = {"blocks.0.over_rows.query.weight", "blocks.1.over_rows.query.weight"}
    expected = {"full": blocks, "last_blocks": {"blocks.1.over_rows.query.weight"}, "lora": blocks}[method]
    assert {name for name in moved if name.endswith("over_rows.query.weight")} == expected
    assert ("class_head.0.weight" in moved) == (method != "lora")
    assert ("cells.project.weight" in moved) == (method == "full")
    plain = copy.deepcopy(tiny_model)
    plain.load_state_dict(merged)
    batch = task_stream(encoded, config, model.config).at(7)[0]
    with torch.no_grad():
        left, right = (m(batch.X, batch.y_context, batch.is_categorical, batch.n_classes) for m in (model, plain))
    assert_close(left, right, rtol=1e-5, atol=1e-5)
    if method == "lora":
        for name in ("blocks.0.up.weight", "blocks.1.down.weight"):
            assert torch.linalg.matrix_rank(merged[name] - before[name], tol=1e-5) <= 2


def test_the_pull_goes_back_to_the_start_by_its_share(tiny_model):
    import copy

    model = copy.deepcopy(tiny_model)
    anchor = Anchor(model, strength=10.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    anchor.pull(model, lr=0.03)
    for one, start in zip(model.parameters(), tiny_model.parameters(), strict=True):
        assert_close(one, start + 0.7)
    config = FinetuneConfig()
    make_trainable(model, config)
    optimizer = make_optimizer(model, config, rates(config, 1e-3, 100))
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups)  # the pull is not towards zero


def break_table(**changes) -> pd.DataFrame:
    table = make_table(9)
    for column, values in changes.items():
        table[column] = values
    return table


BAD = {
    "all missing": (break_table(a=np.nan), "bad.csv: column 'a' is missing in all 60 rows"),
    "constant target": (break_table(y="yes"), "bad.csv: target column 'y': it holds the one class 'yes'"),
    "infinite": (break_table(b=[np.inf] + [0.0, 1.0] * 29 + [2.0]), "bad.csv: column 'b'.* infinity"),
    "no target": (make_table(9).drop(columns="y"), "bad.csv: there is no target column 'y'; it has a, b, c"),
    "close name": (make_table(9).rename(columns={"y": "Y"}), "did you mean 'Y'"),
    "missing target": (break_table(y=np.nan), "bad.csv: target column 'y' is missing in all 60 rows"),
    "infinite target": (break_table(y=[np.inf] + [0.5, 1.5] * 29 + [2.0]), "target column 'y' holds 1 infinite"),
    "many classes": (break_table(y=[f"c{k // 6}" for k in range(60)]), "10 classes, the checkpoint takes 5"),
    "few rows": (make_table(9, 20), "bad.csv: 20 labelled rows are too few; at least 32"),
    "flat": (break_table(a=1, b=2, c="u"), "bad.csv: no column beside target 'y' varies"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_column_fails_before_training_and_is_named(case, tables, tiny_release, tmp_path, monkeypatch):
    bad, said = BAD[case]
    monkeypatch.setattr("icl.finetuning.run._fit", lambda *a: pytest.fail("training started"))
    with pytest.raises(ValueError, match=said):
        finetune(tiny_release, tables | {"bad.csv": bad}, SHORT, out=tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_named_at_once_and_ignore_mends(tables):
    broken = {"one.csv": BAD["all missing"][0], "two.csv": BAD["constant target"][0]}
    with pytest.raises(ValueError, match=r"(?s)2 problem\(s\).*one\.csv.*two\.csv"):
        encode_tables(broken, SHORT, 5)
    [table] = encode_tables({"one.csv": broken["one.csv"]}, FinetuneConfig(target="y", ignore=("a",)), 5)
    assert table.columns == ["b", "c"]


def test_tables_come_from_folders_frames_and_datasets(tables, tmp_path):
    import datasets

    frame = tables["ward0"]
    frame.to_csv(tmp_path / "one.csv", index=False)
    frame.to_parquet(tmp_path / "two.parquet")
    (tmp_path / "notes.md").write_text("no table")
    assert list(read_tables(tmp_path)) == ["one.csv", "two.parquet"]
    data = datasets.Dataset.from_pandas(frame)
    assert list(read_tables(data)) == ["table"]
    assert list(read_tables(datasets.DatasetDict({"a": data, "b": data}))) == ["a", "b"]
    data.save_to_disk(str(tmp_path / "saved"))
    for source in (data, [frame], {"x": frame}, tmp_path / "one.csv", tmp_path / "saved"):
        [found] = read_tables(source).values()
        pd.testing.assert_frame_equal(found, frame, check_dtype=False)
    with pytest.raises(FileNotFoundError, match=r"holds no \.csv"):
        (tmp_path / "empty").mkdir()
        read_tables(tmp_path / "empty")
    with pytest.raises(ValueError, match="tables= got int"):
        read_tables(3)


def test_datasets_are_read_offline_and_errors_name_dataset_and_column(tables, tmp_path, monkeypatch):
    import datasets

    good, bad = tables["ward0"], make_table(9).assign(a=np.nan)
    data = datasets.DatasetDict({k: datasets.Dataset.from_pandas(t) for k, t in (("north", good), ("south", bad))})
    data.save_to_disk(str(tmp_path / "wards"))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"owner/wards": data}[name])
    both = {"north", "south"}
    sources = {
        "": data,
        "wards/": tmp_path / "wards",
        "hf://owner/wards/": "hf://owner/wards",
        "hf://datasets/owner/wards/": "hf://datasets/owner/wards",
        "here/": {"here": data},
        "there/wards/": {"there": tmp_path / "wards"},
        "table 0/": [data],
    }
    for prefix, source in sources.items():
        found = read_tables(source)
        assert set(found) == {prefix + split for split in both}
        pd.testing.assert_frame_equal(found[f"{prefix}north"], good, check_dtype=False)
        with pytest.raises(ValueError, match=rf"(?m)^  {prefix}south: column 'a' is missing in all 60 rows$"):
            encode_tables(found, SHORT, 5)

    def unreachable(name):
        raise ConnectionError(f"couldn't reach {name}")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(OSError, match=r"cannot load hf://o/n: couldn't reach o/n.*without a network pass the folder"):
        read_tables("hf://o/n")


def test_class_labels_of_a_dataset_are_classes_and_nested_cells_are_refused(tiny_release, tmp_path):
    """Twelve labels are classes, not amounts; -1 is no label; `infer` knows the rows again by their codes."""
    import datasets

    table = make_table(0, 96).drop(columns="y").assign(y=np.arange(96) % 13 - 1)
    features = datasets.Features(
        a=datasets.Value("float64"), b=datasets.Value("float64"), c=datasets.Value("string"),
        y=datasets.ClassLabel(num_classes=12),
    )  # fmt: skip
    data = datasets.Dataset.from_pandas(table, features=features)
    [encoded] = encode_tables(read_tables(data), SHORT, 12)
    assert encoded.targets[0].n_classes == 12 and len(encoded) == (table.y >= 0).sum()
    [tuned] = seen_of({"t": encoded.frame}, "y")
    seen = tuned.matches(table, labeled=True)
    # Prints are short: of eight strange rows one is known by chance in 60 runs, two in one of 10,000.
    assert seen[table.y >= 0].all() and seen[table.y < 0].sum() <= 2
    nested = datasets.Dataset.from_dict({"a": [0.5, 1.5] * 30, "y": ["u", "v"] * 30, "pixels": [[1.0, 2.0]] * 60})
    with pytest.raises(ValueError, match="scans: column 'pixels' holds ndarray in its cells, not numbers or text"):
        finetune(tiny_release, {"scans": nested}, SHORT, out=tmp_path / "mine")


def test_what_is_held_out(tables):
    encoded = encode_tables(tables, SHORT, 5)
    split = split_tables(encoded, SHORT)
    assert not split.by_rows and not {t.name for t in split.training} & set(split.names)
    chosen = split_tables(encoded, FinetuneConfig(**vars(SHORT) | {"held_out": ("ward1", "ward2")}))
    assert chosen.names == ["ward1", "ward2"]
    with pytest.raises(ValueError, match="'wardX', which is no table"):
        split_tables(encoded, FinetuneConfig(held_out=("wardX",)))
    alone = split_tables(encoded[:1], SHORT)
    assert alone.by_rows and not set(alone.context[0]) & set(alone.query[0])
    assert len(alone.context[0]) + len(alone.query[0]) == 60 and len(alone.query[0]) == 12
    assert len(alone.training[0]) == 48


def test_few_held_out_tables_are_asked_more_often(tables, tiny_model, monkeypatch):
    """Twenty tasks at least, on different rows; many tables are asked once in each guise, as is one by its rows."""
    monkeypatch.setattr(holdout, "_FEWEST_TASKS", 20)
    encoded = encode_tables(tables, SHORT, 5)
    names = [t.name for t in encoded]
    for n_held_out, n_items in ((1, 20), (3, 24)):
        split = split_tables(encoded, FinetuneConfig(**vars(SHORT) | {"held_out": tuple(names[:n_held_out])}))
        items = holdout.validation_items(split, tiny_model.config, SHORT)
        assert len(items) == n_items and len({item.batch.X.nan_to_num().sum().item() for item in items}) == n_items
    many = holdout.Split([], encoded * 2, [np.arange(60)] * 8, [np.arange(60)] * 8, by_rows=False)
    assert len(holdout.validation_items(many, tiny_model.config, SHORT)) == 32
    alone = split_tables(encoded[:1], SHORT)
    assert len(holdout.validation_items(alone, tiny_model.config, SHORT)) == 4


def test_one_table_without_a_target_trains_on_any_column(tiny_release, tmp_path):
    table = make_table(0, 120).drop(columns="y").assign(d=lambda t: (t.a > 0).astype(int))
    config = FinetuneConfig(**vars(SHORT) | {"target": None, "steps": 2})
    [encoded] = encode_tables({"one": table}, config, 5)
    assert [(t.name, t.n_classes) for t in encoded.targets] == [("a", None), ("b", None), ("c", 3), ("d", 2)]
    out = finetune(tiny_release, table, config, out=tmp_path / "mine")
    assert facts_of(out)["finetuning"]["held_out"] == "rows" and facts_of(out)["fingerprints"]["rows"] == 96


def test_replay_and_two_threads_of_callers(tiny_release, tables, tmp_path):
    """With replay the prior's tasks are in the step; signal handlers are left alone off the main thread."""
    config = FinetuneConfig(**vars(SHORT) | {"steps": 2, "replay": 0.5})
    worker = threading.Thread(target=finetune, args=(tiny_release, tables, config), kwargs={"out": tmp_path / "mine"})
    worker.start()
    worker.join()
    assert np.isfinite(facts_of(tmp_path / "mine")["finetuning"]["prior_loss"]["after"])


def test_the_plan_counts(tiny_release, tables):
    assert plan is dry_run  # its earlier name
    what = dry_run(tiny_release, tables, SHORT)
    n_parameters = sum(p.numel() for p in load_release(tiny_release).parameters())
    assert what.n_moving == what.n_parameters == n_parameters and what.steps == 6
    assert what.seconds > 6 * what.seconds_per_step > 0
    lora = dry_run(tiny_release, tables, FinetuneConfig(**vars(SHORT) | {"method": "lora", "lora_rank": 1}))
    assert lora.n_moving < n_parameters / 2
    with pytest.raises(ValueError, match="n_blocks is 7"):
        dry_run(tiny_release, tables, FinetuneConfig(target="y", method="last_blocks", n_blocks=7))


@pytest.mark.parametrize(
    "options",
    [{"method": "half"}, {"steps": 0}, {"replay": 1.0}, {"lr": 0.0}, {"validation_share": 0.0}, {"max_rows": 8}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        icl.FinetuneConfig(**options)
