"""Folders of shards are worked through whole, once, and the same whatever the engine; without Ray a sentence says so.

Ray itself runs in the tests marked slow, where it is installed, and in benchmarks/scale.
"""

import json
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from lean import BEGIN
from numpy.testing import assert_allclose

from icl import ICLClassifier, ICLRegressor
from icl.commands.main import main
from icl.inference import Mean, infer
from icl.scale.shards import work_through


class Copy:
    """Work that copies the column a, and fails at a file of that name."""

    def __init__(self, of: str = "copies", fails_at: str = ""):
        self.identity, self.fails_at, self.calls = {"of": of, "list": (1, 2)}, fails_at, []

    def __call__(self, source: Path, target: Path) -> int:
        self.calls.append(source.name)
        if source.name == self.fails_at:
            raise RuntimeError("killed")
        frame = pd.read_parquet(source)
        frame[["a"]].to_parquet(target)
        return len(frame)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("a", 30), ("sub/b", 1), ("c", 70)):
        path = tmp_path / "rows" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc")).assign(id=range(n))
        frame.to_parquet(path)
    (tmp_path / "rows" / "_temporary.parquet").write_bytes(b"of another program")
    return tmp_path / "rows"


def test_what_is_there_is_not_done_again_and_a_failed_shard_leaves_nothing(folder, tmp_path):
    out, seen = tmp_path / "out", []
    with pytest.raises(RuntimeError, match="killed"):
        work_through(Copy(fails_at="c.parquet"), folder, out)
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["_shards.json", "a.parquet"]
    again = Copy()
    report = work_through(again, folder, out, on_shard=lambda done, total: seen.append((done, total)))
    assert again.calls == ["c.parquet", "b.parquet"] and seen == [(30, 101), (100, 101), (101, 101)]
    assert (report.n_rows, report.n_shards, report.n_before) == (101, 3, 1)
    # An input that is newer than its answers, or has other rows, is done again; the others are left.
    pd.read_parquet(folder / "a.parquet").head(5).to_parquet(folder / "a.parquet")
    last = Copy()
    assert work_through(last, folder, out).n_before == 2 and last.calls == ["a.parquet"]


def test_refused_before_any_work(folder, tmp_path):
    out = tmp_path / "out"
    work_through(Copy(), folder, out)
    for bad, work, source, output in (
        ("another kind .of changed", Copy("others"), folder, out),
        ("not ours", Copy(), out, folder.parent / "elsewhere"),
        ("lie in one another", Copy(), folder, folder / "sub"),
        ("no Parquet files", Copy(), tmp_path / "empty", out),
        ("no folder", Copy(), tmp_path / "nowhere", out),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "elsewhere" / "theirs.parquet")
        with pytest.raises((ValueError, OSError), match=bad):
            work_through(work, source, output)
        assert not work.calls
    with pytest.raises(ValueError, match="engine must be one of 'local', 'ray'"):
        work_through(Copy(), folder, out, engine="spark")


@pytest.fixture(scope="module")
def labelled() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
    return table.assign(y=table.a - table.b, k=np.where(table.a > 0, "up", "down"))


def read(folder: Path, out: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(out / p.relative_to(folder)) for p in sorted(folder.rglob("[!_]*.parquet"))])


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_predict_dataset_says_what_predict_says(kind, labelled, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("icl.estimators.dataset._FEWEST_ROWS", 16)
    monkeypatch.setattr("icl.estimators.dataset._MOST_ROWS", 16)
    X = labelled[list("abc")]
    if kind == "regression":
        model = ICLRegressor("nano", n_estimators=1, companions=()).fit(X, labelled["y"])
        options = {"quantiles": (0.1, 0.9)}
    else:
        model = ICLClassifier("nano", n_estimators=1, companions=()).fit(X, labelled["k"])
        options = {"proba": True}
    report = model.predict_dataset(folder, tmp_path / "out", columns=["id"], **options)
    found, rows = read(folder, tmp_path / "out"), read(folder, folder)
    assert report.n_rows == len(found) == 101 and found["id"].tolist() == rows["id"].tolist()
    if kind == "regression":
        assert list(found) == ["id", "prediction", "q0.1", "q0.9"]
        assert_allclose(found["prediction"], model.predict(rows[list("abc")]), rtol=1e-5, atol=1e-6)
        assert_allclose(found["q0.9"], model.predict_quantiles(rows[list("abc")], [0.9])[:, 0], rtol=1e-5, atol=1e-6)
    else:
        assert list(found) == ["id", "prediction", "p_down", "p_up"]
        assert_allclose(found[["p_down", "p_up"]], model.predict_proba(rows[list("abc")]), rtol=1e-5, atol=1e-6)
        assert found["prediction"].tolist() == model.predict(rows[list("abc")]).tolist()
    assert model.predict_dataset(folder, tmp_path / "out", columns=["id"], **options).n_before == 3
    with pytest.raises(ValueError, match="another kind"):
        model.set_params(softmax_temperature=2.0)
        model.predict_dataset(folder, tmp_path / "out", columns=["id"], **options)
    with pytest.raises(ValueError, match="is for"):
        model.predict_dataset(
            folder, tmp_path / "new", **({"proba": True} if kind == "regression" else {"quantiles": [0.5]})
        )


ARROW = {
    "numbers with gaps": pa.array([None, 2**60 + 1] * 20, pa.int64()),
    "small": pa.array(range(40), pa.int8()),
    "float32": pa.array([0.1] * 40, pa.float32()),
    "truth with gaps": pa.array([True, None] * 20),
    "dictionary": pa.array(["x", "y"] * 20).dictionary_encode(),
    "zone": pa.array([datetime(2020, 1, 1)] * 40, pa.timestamp("us", "Europe/Berlin")),
    "date": pa.array([date(1000, 1, 1)] * 40),
    "time": pa.array([12345] * 40, pa.time64("us")),
    "decimal": pa.array([Decimal("1.50"), None] * 20, pa.decimal128(30, 2)),
    "list": pa.array([[1], None, [], [1, 2]] * 10, pa.list_(pa.int16())),
    "struct": pa.array([{"p": 1, "q": None}] * 40, pa.struct([("p", pa.int8()), ("q", pa.string())])),
    "bytes": pa.array([b"\xff\x00"] * 40),
    "text": pa.array(["007", None] * 20, pa.large_string()),
    "nothing": pa.nulls(40),
    "prediction": pa.array(range(40)),
    "text of dates": pa.array(["17.02.2023", None] * 20),
}


@pytest.fixture
def odd(labelled, tmp_path, monkeypatch):
    """A folder whose first shard has no rows, and whose columns are of all types; the labelled rows as a file."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    rows = pa.Table.from_pandas(labelled[list("abc")].set_axis([*range(100, 139), 7]).rename_axis("key"))
    for name, cells in ARROW.items():
        rows = rows.append_column(name, cells)
    pq.write_table(rows, "in/b.parquet")
    untyped = [f.with_type(pa.null()) if f.name in ("text", "key") else f for f in rows.schema]
    pq.write_table(pa.schema(untyped, rows.schema.metadata).empty_table(), "in/a.parquet")
    labelled[["a", "b", "c", "k"]].to_csv("train.csv", index=False)
    return rows


def check_odd(out, rows, kept):
    made, empty = pq.read_table(f"{out}/b.parquet"), pq.read_table(f"{out}/a.parquet")
    assert made.select(kept).equals(rows.select(kept)) and made.schema.equals(empty.schema)
    answer = "icl_prediction" if "prediction" in kept else "prediction"
    assert made.column_names == [*kept, answer, "p_down", "p_up"] and made.schema.field(answer).type == pa.string()
    whole = pd.read_parquet(out)
    assert len(whole) == 40 == pyarrow.dataset.dataset(out).count_rows() and whole[answer].notna().all()


@pytest.mark.parametrize("columns", [None, "key", ["key"], ["decimal", "zone", "prediction"], list(ARROW)])
def test_columns_pass_through_as_they_are(columns, labelled, odd):
    model = ICLClassifier("nano", n_estimators=1, companions=()).fit(labelled[list("abc")], labelled.k)
    model.predict_dataset("in", "out", columns=columns, proba=True)
    check_odd("out", odd, odd.column_names if columns is None else [columns] if columns == "key" else columns)
    if columns is None:
        whole = pd.read_parquet("out")
        assert (
            whole.index.name == "key"
            and whole["icl_prediction"].tolist() == model.predict(labelled[list("abc")]).tolist()
        )


@pytest.mark.parametrize("more", [[], ["--only_predictions"]])
def test_the_command_passes_columns_through_too(more, labelled, odd, capsys):
    own = ["--target", "k", "--checkpoint", "nano", "--members", "1", "--companions", "none", "--proba"]
    assert main(["predict", "train.csv", "in", "--output", "out", *own, *more]) == 0, capsys.readouterr().err
    check_odd("out", odd, [] if more else odd.column_names)


@pytest.mark.parametrize("index", [pd.RangeIndex(5, 85, 2, name="key"), pd.Index(range(40, 0, -1), name="key")])
def test_an_index_of_pandas_stays_one_and_may_be_a_feature(index, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("icl.estimators.dataset._FEWEST_ROWS", 16)
    monkeypatch.setattr("icl.estimators.dataset._MOST_ROWS", 16)
    (tmp_path / "in").mkdir()
    rows = labelled[list("abc")].set_axis(index)
    rows.to_parquet(tmp_path / "in" / "a.parquet")
    X = rows.reset_index()
    model = ICLRegressor("nano", n_estimators=1, companions=()).fit(X, labelled.y)
    for columns, out in ((None, "all"), ("key", "one")):
        model.predict_dataset(tmp_path / "in", tmp_path / out, columns=columns)
        found = pd.read_parquet(tmp_path / out)
        assert found.index.name == "key" and found.index.tolist() == index.tolist()
        assert_allclose(found["prediction"], model.predict(X), rtol=1e-5, atol=1e-6)


def test_columns_that_are_not_there(labelled, folder, tmp_path):
    model = ICLRegressor("nano", n_estimators=1, companions=()).fit(labelled[list("abc")], labelled.y)
    for columns, said in (
        ("ident", "columns= names 'ident', which .*a.parquet lacks"),
        (["ID"], "did you mean 'id'"),
        ([3], "names 3"),
    ):
        with pytest.raises(ValueError, match=said):
            model.predict_dataset(folder, tmp_path / "out", columns=columns)
    assert not (tmp_path / "out").exists()


def test_the_output_is_read_as_one_whenever_the_run_ended(labelled, folder, tmp_path, monkeypatch):
    model = ICLRegressor("nano", n_estimators=1, companions=()).fit(labelled[list("abc")], labelled.y)
    out, real = tmp_path / "out", pq.ParquetWriter.write_table

    def stops(writer, table, *args):
        real(writer, table, *args)
        if table.num_rows == 70:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pq.ParquetWriter, "write_table", stops)
        model.predict_dataset(folder, out)
    (out / ".partial-00000000-c.parquet").write_bytes(b"what a kill leaves")
    for n in (30, 101):
        assert len(pd.read_parquet(out)) == n == pyarrow.dataset.dataset(out).count_rows()
        known = labelled.assign(prediction=model.predict(labelled[list("abc")]))
        assert infer(Mean("y"), labeled=known, unlabeled=str(out), predictions="prediction").interval() is not None
        model.predict_dataset(folder, out)


def test_a_record_of_the_old_name_and_a_damaged_one(folder, tmp_path):
    out = tmp_path / "out"
    work_through(Copy(), folder, out)
    record, old = out / "_shards.json", out / "shards.json"
    for text in ("", "{", "[1]", "null", '"x"', b"\xff\xfe"):
        for path in (old, record):
            record.unlink(missing_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            with pytest.raises(ValueError, match=f"{path.name} is damaged .* name another folder, or remove this one"):
                work_through(Copy(), folder, out)
        old.unlink()
    record.unlink()
    old.write_text(json.dumps({"list": [1, 2]}))  # which noted less
    assert work_through(Copy(), folder, out).n_before == 3
    assert not old.exists() and json.loads(record.read_text())["of"] == "copies"
    record.unlink()
    old.write_text(json.dumps({"of": "others"}))
    with pytest.raises(ValueError, match=r"another kind \(of changed"):
        work_through(Copy(), folder, out)


def test_the_command_takes_a_folder(labelled, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labelled.drop(columns="k").to_csv("train.csv", index=False)
    read(folder, folder).to_parquet("all.parquet")
    own = ["--target", "y", "--checkpoint", "nano", "--members", "1", "--companions", "none", "--no_check"]
    assert main(["predict", "train.csv", "rows", *own, "--output", "out", "--id", "id"]) == 1
    assert "--id id" in capsys.readouterr().err  # the train file has no such column
    assert main(["predict", "train.csv", "rows", *own, "--output", "out"]) == 0
    assert "101 rows in 3 files to out" in capsys.readouterr().out
    assert main(["predict", "train.csv", "all.parquet", *own, "--output", "one.parquet"]) == 0
    assert_allclose(read(folder, Path("out"))["prediction"], pd.read_parquet("one.parquet")["prediction"], atol=1e-5)
    capsys.readouterr()
    for words, said in (
        (["rows"], "--output FOLDER"),
        (["rows", "--output", "rows/out"], "lie in one another"),
        (["all.parquet", "--output", "x.parquet", "--engine", "ray"], "works on a folder"),
        (["rows", "--output", "out", "--quantiles", "0.5"], "another kind"),
    ):
        assert main(["predict", "train.csv", *words, *own]) == 1
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("other", ["classes", "order of dates"])
def test_the_command_does_not_go_on_with_another_model(other, labelled, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    days = pd.Series(pd.date_range("2020-01-01", periods=40, freq="37D"))
    rows = labelled[["a", "b"]].assign(day=days.dt.strftime("%d.%m.%Y"))
    rows.to_parquet("in/a.parquet")
    rows.assign(k=labelled.k).to_csv("one.csv", index=False)
    day, k = (rows.day, labelled.k.str.upper()) if other == "classes" else (days.dt.strftime("%m.%d.%Y"), labelled.k)
    rows.assign(day=day, k=k).to_csv("other.csv", index=False)
    own = ["--output", "out", "--target", "k", "--checkpoint", "nano", "--members", "1", "--companions", "none"]
    assert [main(["predict", f"{train}.csv", "in", *own]) for train in ("one", "one", "other")] == [0, 0, 1]
    told = capsys.readouterr()
    assert "1 of them before" in told.out and "another kind" in told.err
    assert pq.read_table("out/a.parquet").column("day").to_pylist() == rows.day.tolist()  # text as it stands


def test_without_the_extra_a_sentence_says_what_to_install(labelled, folder, tmp_path, monkeypatch, capsys):
    from priors.cli import main as priors_main

    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails, as where it is not installed
    monkeypatch.chdir(tmp_path)
    labelled.to_csv("train.csv", index=False)
    assert main(["predict", "train.csv", "rows", "--target", "y", "--output", "out", "--engine", "ray"]) == 1
    assert priors_main(["export", "tasks", "--n", "1", "--prior", "linear", "--engine", "ray"]) == 1
    assert capsys.readouterr().err.count("pip install 'ray[data]>=2.40'") == 2
    assert not (tmp_path / "out").exists()


def test_nothing_imports_ray_before_it_is_asked_for(tmp_path):
    code = BEGIN + (
        "import sys, icl, icl.inference.analysis, icl.scale.shards, icl.estimators.dataset, priors.jobs;"
        "import icl.commands.predict.folder; print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    import tomllib

    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    everywhere = [*project["dependencies"], *(d for name, of in extras.items() if name != "ray" for d in of)]
    assert extras["ray"] and not any(d.startswith("ray") for d in everywhere)


@pytest.mark.slow
def test_ray_gives_the_same_answers(labelled, folder, tmp_path):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    code = """
import json, sys
import numpy as np, pandas as pd
from pathlib import Path
from icl import ICLRegressor
from icl.inference import Mean, OLS, Quantile, infer
from icl.scale.engines import start
from priors.cli import main
ray = start(num_cpus=2, object_store_memory=100 * 2**20)
labelled = pd.read_parquet("labelled.parquet")
model = ICLRegressor("nano", n_estimators=1, companions=()).fit(labelled[["a", "b", "c"]], labelled["y"])
model.predict_dataset("rows", "here")
model.predict_dataset("rows", "there", engine="ray", workers=2)
data = ray.data.read_parquet(["rows/a.parquet", "rows/c.parquet"])
made = model.predict_dataset(data, workers=1).to_pandas()
answers = []
for estimand in (Mean("y"), OLS("y ~ a"), Quantile("y")):
    files = ["here/a.parquet", "here/c.parquet"]
    for unlabeled in (pd.concat([pd.read_parquet(p) for p in files]), ray.data.read_parquet(files)):
        result = infer(estimand, labeled=labelled.assign(prediction=labelled.a), unlabeled=unlabeled,
                       predictions="prediction")
        answers.append(result.interval().to_numpy().tolist())
codes = [main(["export", name, "--n", "20", "--prior", "linear", "--batches_per_shard", "1", *more])
         for name, more in (("t0", []), ("t2", ["--engine", "ray", "--workers", "2"]))]
print(json.dumps({"rows": len(made), "answers": answers, "codes": codes}))
"""
    labelled.to_parquet(tmp_path / "labelled.parquet")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == 100 and found["codes"] == [0, 0]
    for here, there in zip(found["answers"][::2], found["answers"][1::2], strict=True):
        assert_allclose(there, here, rtol=1e-9)
    ours, theirs = read(folder, tmp_path / "here"), read(folder, tmp_path / "there")
    assert_allclose(ours["prediction"], theirs["prediction"], atol=1e-6)
    shards = sorted((tmp_path / "t0").glob("*.parquet"))
    assert len(shards) > 1
    for shard in shards:
        assert pd.read_parquet(shard).equals(pd.read_parquet(tmp_path / "t2" / shard.name))
