"""`icl serve`: answers are those of the estimators, limits and guards hold, and nothing that is sent is executed."""

import dataclasses
import json
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from icl import ICLRegressor
from icl.commands.main import main
from icl.commands.serve.limits import ServeOptions
from icl.inference import infer

pytest.importorskip("fastapi")
testclient = pytest.importorskip("starlette.testclient")

from icl.commands.serve import work  # noqa: E402
from icl.commands.serve.app import build_app  # noqa: E402
from icl.commands.serve.run import token_of  # noqa: E402


@pytest.fixture(scope="module")
def options(tiny_release):
    return ServeOptions(checkpoint=str(tiny_release), members=1, max_mb=0.05, most_rows=200, seconds=60)


@pytest.fixture(scope="module")
def client(options):
    return testclient.TestClient(build_app(options), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 60), "town": rng.choice(["Bern", "Lyon"], 60)})
    frame["income"] = (frame.age * 3.5 + rng.normal(size=60)).round(2).where(frame.index < 45)
    frame["kind"] = np.where(frame.index < 45, np.where(frame.age > 50, "old", "young"), None)
    return frame


def post(client, route, content, headers=None, **fields):
    if not isinstance(content, bytes):
        content = content.to_csv(index=False).encode()
    return client.post(route, files={"table": ("t.csv", content)}, data=fields, headers=headers)


def test_columns_are_told(client, table):
    found = post(client, "/columns", table).json()
    assert found["n_rows"] == 60 and [c["column"] for c in found["columns"]] == list(table)
    assert found["columns"][2]["n_missing"] == 15 and found["columns"][0]["taken_for"] == "number"


def test_predictions_are_those_of_the_estimator(client, table, options):
    numbers = table.drop(columns="kind")
    found = post(client, "/predict", numbers, target="income", coverage=0.8).json()
    known = numbers["income"].notna()
    X = numbers.drop(columns="income")
    model = ICLRegressor(**options.estimator()).fit(X[known], numbers["income"][known])
    np.testing.assert_allclose([p["prediction"] for p in found["predictions"]], model.predict(X[~known]), rtol=1e-6)
    low_high = [[p["lower"], p["upper"]] for p in found["predictions"]]
    np.testing.assert_allclose(low_high, model.predict_interval(X[~known], 0.8), rtol=1e-6)
    assert found["task"] == "regression" and found["n_labelled"] == 45 and found["n_to_predict"] == 15


def test_classes_have_sets(client, table):
    found = post(client, "/predict", table.drop(columns="income"), target="kind").json()
    assert found["task"] == "classification" and found["predictions"][0]["row"] == 45
    assert all(set(p["set"]) <= {"old", "young"} and 0.5 <= p["probability"] <= 1 for p in found["predictions"])


@pytest.mark.parametrize("target", ["income", "kind"])
def test_explanations_add_up(client, table, target):
    other = {"income": "kind", "kind": "income"}[target]
    found = post(client, "/explain", table.drop(columns=other), target=target, rows=2).json()
    assert len(found["rows"]) == 2 and found["is_exact"]
    assert {c["column"] for c in found["rows"][0]["columns"]} == {"age", "town"}


def test_rows_have_their_names(client, table):
    named = table.drop(columns="kind").assign(id=[f"P{i:03d}" for i in range(60)])
    found = post(client, "/predict", named, target="income").json()
    assert found["predictions"][0]["row"] == 45 and found["predictions"][0]["name"] == "P045"


def test_estimates_are_those_of_infer(client, table, options):
    numbers = table.drop(columns="kind")
    found = post(client, "/estimate", numbers, estimand="ols: income ~ age").json()
    wanted = infer("ols: income ~ age", numbers, predictor=ICLRegressor(**options.estimator()))
    np.testing.assert_allclose([e["estimate"] for e in found["estimates"]], wanted.params, rtol=1e-6)
    assert {"classical", "imputed"} <= {row["method"] for row in found["comparison"]}


@pytest.mark.parametrize(
    ("route", "fields", "said"),
    [
        ("/predict", {"target": "height"}, "no column 'height'"),
        ("/predict", {"target": "age"}, "every row has"),
        ("/explain", {"target": "income", "rows": 900}, "--most_explained"),
        ("/estimate", {"estimand": "income"}, "starts with 'income'"),
        ("/estimate", {"estimand": "ols: income ~ __import__('os').system('true')"}, ""),
        ("/estimate", {"estimand": "ols: income ~ open(age)"}, ""),
    ],
)
def test_what_cannot_be_used_is_a_sentence(client, table, route, fields, said):
    answer = post(client, route, table, **fields)
    assert answer.status_code == 422 and said in answer.json()["detail"]


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01\x02", b"PK\x03\x04" + b"0" * 50, b"\x1f\x8b" + b"0" * 50, b"a,a\n1,2\n"]
)
def test_strange_files_are_refused(client, content):
    assert post(client, "/columns", content).status_code in (200, 422)
    if content.startswith((b"PK", b"\x1f\x8b")):
        assert "compressed or binary" in post(client, "/columns", content).json()["detail"]


def test_size_is_limited_however_it_is_told(client, table):
    large = b"a,b\n" + b"1,2\n" * 30_000
    assert post(client, "/columns", large).status_code == 413

    def drops():  # no length is told
        yield b'--x\r\nContent-Disposition: form-data; name="table"; filename="a.csv"\r\n\r\na,b\n'
        yield from [b"1,2\n" * 1_000] * 30

    answer = client.post("/columns", content=drops(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413
    many = pd.DataFrame({"a": range(300), "b": range(300)})
    assert "--most_rows" in post(client, "/columns", many).json()["detail"]


def test_only_this_machine_and_its_own_page_may_ask(client, table):
    assert post(client, "/columns", table, {"host": "evil.example"}).status_code == 403
    assert post(client, "/columns", table, {"origin": "http://evil.example"}).status_code == 403
    assert post(client, "/columns", table, {"origin": "http://127.0.0.1"}).status_code == 200
    assert post(client, "/columns", table, {"host": "[::1"}).status_code == 403  # half a bracket
    assert post(client, "/columns", table, {"origin": "http://[::1"}).status_code == 403
    assert post(client, "/columns", table, {"origin": "null"}).status_code == 403


def test_elsewhere_a_token_is_demanded(options, table, monkeypatch):
    monkeypatch.delenv("ICL_TOKEN", raising=False)
    assert token_of(ServeOptions()) is None and len(token_of(ServeOptions(host="0.0.0.0"))) > 20
    monkeypatch.setenv("ICL_TOKEN", "short")
    with pytest.raises(ValueError, match="at least 16"):
        token_of(ServeOptions())
    app = build_app(dataclasses.replace(options, host="0.0.0.0"), "secret-of-sixteen")
    open_to_all = testclient.TestClient(app, base_url="http://there")
    assert open_to_all.get("/").status_code == 200 and open_to_all.get("/docs.json").status_code == 401
    for given, status in [("", 401), ("Bearer wrong", 401), ("Bearer secret-of-sixteen", 200)]:
        assert post(open_to_all, "/columns", table, {"authorization": given}).status_code == status


def test_time_and_places_are_limited(options, table, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(work, "columns", lambda *_: {"done": gate.wait(20)})
    slow = ServeOptions(seconds=0.2, at_once=1)
    with testclient.TestClient(build_app(slow), base_url="http://127.0.0.1") as client:
        late = post(client, "/columns", table)
        busy = post(client, "/columns", table)
        assert late.status_code == busy.status_code == 503
        assert "--seconds" in late.json()["detail"] and "try again" in busy.json()["detail"]
        gate.set()
        for _ in range(100):
            if post(client, "/columns", table).status_code == 200:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the place was not given back")


def test_requests_at_the_same_time_keep_their_own_notes(options, table, monkeypatch):
    def noisy(content, options):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(5):
                warnings.warn(f"{len(content)} bytes", stacklevel=1)
                time.sleep(0.005)
        return {"told": [str(one.message) for one in told]}

    monkeypatch.setattr(work, "columns", noisy)
    contents, before = [b"a" * n for n in range(1, 7)], list(warnings.filters)
    app = build_app(options)
    with testclient.TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda content: post(client, "/columns", content), contents))
    assert [answer.json()["told"] for answer in answers] == [[f"{n} bytes"] * 5 for n in range(1, 7)]
    assert warnings.filters == before


def test_work_that_was_not_begun_in_time_gives_its_place_back(table, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(work, "columns", lambda *_: {"done": gate.wait(20)})
    with testclient.TestClient(build_app(ServeOptions(seconds=0.2, at_once=2)), base_url="http://127.0.0.1") as client:
        begun, waiting, later = (post(client, "/columns", table) for _ in range(3))
        gate.set()
    assert "not done in" in begun.json()["detail"]
    assert "not begun" in waiting.json()["detail"] and "not begun" in later.json()["detail"]


def test_what_was_read_otherwise_than_it_stands_is_noted(client, table):
    numbers = table.drop(columns="kind")
    numbers.loc[numbers.index % 10 == 0, "age"] = 999
    assert "Age is 999".casefold() in " ".join(post(client, "/columns", numbers).json()["notes"]).casefold()
    for route, fields in [("/predict", {}), ("/explain", {"rows": 1}), ("/estimate", {"estimand": "mean: income"})]:
        found = post(client, route, numbers, target="income", **fields).json()
        assert "age is 999 in 6 rows" in " ".join(found["notes"])
    odd = numbers.astype({"income": object})
    odd.loc[3, "income"] = "broken"
    for route, fields in [("/predict", {}), ("/explain", {}), ("/estimate", {"estimand": "mean: income"})]:
        answer = post(client, route, odd, target="income", **fields)
        assert answer.status_code == 422 and "'broken'" in answer.json()["detail"]


def test_the_page_is_self_contained_and_guarded(client):
    page = client.get("/")
    assert page.status_code == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/page.js").status_code == 200 and client.get("/page.css").status_code == 200
    assert "://" not in page.text and "onclick" not in page.text
    assert set(client.get("/docs.json").json()["paths"]) == {"/columns", "/predict", "/explain", "/estimate"}


def test_without_the_extra_it_says_so(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert main(["serve"]) == 1 and "pip install '.[serve]'" in capsys.readouterr().err


def test_answers_are_json(client, table):
    text = post(client, "/estimate", table.drop(columns="kind"), estimand="median: income").text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
