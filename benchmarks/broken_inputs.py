"""Files as people have them, and tables in Python, replayed: what came of them before the reader, and what comes now.

python benchmarks/broken_inputs.py        # writes benchmarks/broken_inputs.md, about three minutes on one core

The figures of before are those that the complaints were noted with (commit 0a7b393, other tables of the same kinds).
Each entry of today is measured here: a table of 300 rows is written as people write it, and predicted beside its
cleaned twin by the same command.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from icl.commands.main import main as icl

N, SEED = 300, 0


def people() -> pd.DataFrame:
    """Numbers, amounts, shares, dates, codes, answers and words that all bear on the score."""
    rng = np.random.default_rng(SEED)
    income, share = rng.lognormal(10.5, 0.5, N).round(2), rng.uniform(0, 40, N).round(1)
    day = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 720, N), unit="D")
    member, region = rng.random(N) < 0.5, rng.choice(["04109", "10115", "80331"], N)
    score = 20 * np.log(income) + share + np.asarray((day - day.min()).days) / 60 + 5 * member
    score = score + 4 * (region == "04109") + rng.normal(0, 2, N)
    return pd.DataFrame({"id": range(N), "income": income, "share": share, "day": day, "member": member, "plz": region,
                         "score": np.asarray(score).round(2)})  # fmt: skip


def european(table: pd.DataFrame) -> bytes:
    def comma(x: float) -> str:
        return f"{x:,.2f}".translate(str.maketrans(",.", ".,"))

    out = table.assign(
        income=[f"{comma(x)} EUR" for x in table.income], share=[f"{x:.1f} %".replace(".", ",") for x in table.share],
        day=table.day.dt.strftime("%d.%m.%Y"), member=np.where(table.member, "Ja", "Nein"),
        score=["" if np.isnan(x) else comma(x) for x in table.score],
    )  # fmt: skip
    return out.to_csv(index=False, sep=";").encode("utf-8-sig")


def american(table: pd.DataFrame) -> bytes:
    out = table.assign(
        income=[f"${x:,.2f}" for x in table.income], share=[f"{x:.1f}%" for x in table.share],
        day=table.day.dt.strftime("%m/%d/%Y"), member=np.where(table.member, "yes", "no"),
    )  # fmt: skip
    return out.to_csv(index=False).encode()


def british(table: pd.DataFrame) -> bytes:
    return table.assign(day=table.day.dt.strftime("%d/%m/%Y")).to_csv(index=False).encode()


def latin(table: pd.DataFrame) -> bytes:
    return table.rename(columns={"income": "Größe"}).to_csv(index=False, sep=";").encode("latin-1")


def run(*args: str) -> tuple[int, str]:
    """Exit code and all that was said."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = icl(list(args))
    return code, " ".join(out.getvalue().split())


def r2(name: str, write) -> float:
    """Of the held-out third, predicted by `icl predict` from a file."""
    table = people()
    Path(f"{name}_train.csv").write_bytes(write(table[: 2 * N // 3]))
    Path(f"{name}_test.csv").write_bytes(write(table[2 * N // 3 :].assign(score=np.nan)))
    arguments = ["predict", f"{name}_train.csv", f"{name}_test.csv", "--target", "score", "--no-check", "--output",
                 f"{name}_out.csv", "--checkpoint", "nano", "--members", "2"]  # fmt: skip
    code, said = run(*arguments)
    assert code == 0, said
    separator = ";" if name in ("european", "latin") else ","
    out = Path(f"{name}_out.csv").read_bytes().decode("latin-1" if name == "nothing" else "utf-8-sig")
    predicted = pd.read_csv(io.StringIO(out), sep=None, engine="python")["prediction"].to_numpy(float)
    assert len(predicted) == N // 3, separator
    truth = table.score[2 * N // 3 :].to_numpy()
    return float(1 - np.square(truth - predicted).sum() / np.square(truth - truth.mean()).sum())


def refusal(*args: str) -> str:
    """The last sentence of a command that must stop."""
    code, said = run(*args)
    assert code != 0, said
    return said[:230]


def files() -> list[tuple[str, str, str]]:
    clean = r2("clean", lambda table: table.to_csv(index=False).encode())
    rows = [("the cleaned twin", "R2 .763 (cleaned by hand)", f"R2 {clean:.3f}")]
    for name, write, before in (
        ("european", european, "classification of 196 labels, accuracy .000, exit code 0"),
        ("american", american, "R2 .281"),
        ("british", british, "R2 .306 (ISO .980)"),
        ("latin", latin, "refused"),
    ):
        rows.append(
            (f"{name}: {write(people()).decode('latin-1').splitlines()[1][:60]!r}", before, f"R2 {r2(name, write):.3f}")
        )
    table = people()
    table.assign(when=table.day.dt.strftime("%d.%m.%Y")).to_csv("dates.csv", index=False)
    rows.append(
        ("a date as target", "188 classes", refusal("predict", "dates.csv", "clean_test.csv", "--target", "when"))
    )
    rows.append(
        (
            "names as target",
            "196 classes",
            refusal("predict", "names.csv", "clean_test.csv", "--target", "who")
            if Path("names.csv").write_text(table.assign(who=[f"p{i}" for i in range(N)]).to_csv(index=False))
            else "",
        )
    )
    rng = np.random.default_rng(1)
    words = [" ".join(rng.permutation([*rng.choice(["the", "food", "came", "on", "time", "again"], 5),
                                       *rng.choice(["great", "lovely"] if m else ["awful", "slow"], 2)]))
             for m in rng.random(N) < 0.5]  # fmt: skip
    liked = [3.0 + ("great" in text or "lovely" in text) * 2 + rng.normal() * 0.3 for text in words]
    text = pd.DataFrame({"review": words, "x": rng.normal(size=N), "liked": liked})
    text.to_csv("text.csv", index=False)
    text.iloc[200:].to_csv("text_test.csv", index=False)
    text.iloc[:200].to_csv("text_train.csv", index=False)
    said = run("predict", "text_train.csv", "text_test.csv", "--target", "liked", "--no-check", "--checkpoint", "nano")[
        1
    ]
    rows.append(("free text beside one number", 'dropped as "names rows"', said[said.index("R2") :][:9]))
    with pd.ExcelWriter("two.xlsx") as book:
        table.to_excel(book, sheet_name="data", index=False)
        table.head().to_excel(book, sheet_name="first", index=False)
    rows.append(("two sheets", "the first, silently", refusal("inspect", "two.xlsx")))
    said = run("inspect", "two.xlsx", "--sheet", "data")[1]
    rows.append(("codes such as 04109 in a sheet", "4109", "kept as text" if "plz code" in said else said[:80]))
    arguments = ["predict", "clean_train.csv", "-", "--target", "score", "--no-check", "--output", "-"]
    arguments += ["--checkpoint", "nano", "--members", "1"]
    piped = subprocess.run(
        [sys.executable, "-m", "icl.commands.main", *arguments],
        input=Path("clean_test.csv").read_text(), capture_output=True, check=False, text=True,
    )  # fmt: skip
    rows.append(
        ("standard input to standard output", "not possible", f"{len(piped.stdout.splitlines()) - 1} rows of CSV")
    )
    for option, value in (("--max_rows", "500"), ("--device", "cpu"), ("--members", "1")):
        code, _ = run("predict", "clean_train.csv", "clean_test.csv", "--target", "score", "--no-check", option, value,
                      "--checkpoint", "nano", "--members", "1")  # fmt: skip
        rows.append(
            (
                f"{option} {value}",
                "did not exist, though messages name it" if option != "--members" else "messages say n_estimators",
                f"exit code {code}",
            )
        )
    rows.append(("--interval 90", "a parser dump", refusal("predict", "a.csv", "b.csv", "--interval", "90")))
    return rows


def python() -> list[tuple[str, str, str]]:
    from icl import ICLClassifier, ICLRegressor
    from icl.inference import infer

    table = people()
    part = table.assign(score=table.score.where(table.index < 100))
    rows = []

    def entry(what: str, before: str, ask) -> None:
        try:
            found = str(ask())
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        rows.append((what, before, " ".join(found.split())[:200]))

    nano = {"checkpoint": "nano", "n_estimators": 1}
    X, y = table[["income", "share", "day", "member", "plz"]], table.score
    entry(
        'infer("ols: score ~ share", ...)',
        "refused",
        lambda: infer("ols: score ~ share", part, predictor=ICLRegressor(**nano), folds=2).estimate.round(3).to_dict(),
    )
    arrow = __import__("pyarrow").Table.from_pandas(part[["share", "score"]], preserve_index=False)
    entry(
        "Arrow tables in infer (as polars and Hugging Face)",
        "works in fit only",
        lambda: infer("mean: score", arrow, predictor=ICLRegressor(**nano), folds=2).estimate.round(2).to_dict(),
    )
    result = infer("ols: score ~ share", part, predictor=ICLRegressor(**nano), folds=2)
    entry(
        "params, bse, pvalues, conf_int",
        "missing",
        lambda: all(hasattr(result, a) for a in ("params", "bse", "pvalues", "conf_int")),
    )
    model = ICLRegressor(**nano).fit(X[:200], y[:200])
    entry(
        "dates and names in text: R2 of fit and predict",
        "188 levels, id kept",
        lambda: round(
            ICLRegressor(**nano)
            .fit(X[:200].assign(day=table.day.dt.strftime("%d.%m.%Y")[:200], id=table.id[:200]), y[:200])
            .score(X[200:].assign(day=table.day.dt.strftime("%d.%m.%Y")[200:], id=table.id[200:]), y[200:]),
            3,
        ),
    )
    entry("the same with dates as dates", "", lambda: round(model.score(X[200:], y[200:]), 3))
    kind = ICLClassifier(**nano).fit(X[["income", "share"]], table.plz)
    entry(
        "predict_set",
        "an unlabelled matrix",
        lambda: list(kind.predict_set(X[["income", "share"]].head(2), 0.8, as_frame=True).columns),
    )
    d = model.predict_distribution(X.head(2))
    entry("repr of a distribution", "an address", lambda: repr(d))
    entry(
        "sample(3), log_prob of an array",
        "needs a generator, fails",
        lambda: (tuple(np.shape(d.sample(3))), tuple(np.shape(d.log_prob(y[:2].to_numpy())))),
    )
    entry(
        "several targets in y",
        "refused",
        lambda: ICLRegressor(**nano).fit(X[:200], table[["score", "share"]][:200]).predict(X[200:]).shape,
    )
    return rows


def main() -> None:
    started, here = time.perf_counter(), Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        tables = {"Files as people have them": files(), "In Python": python()}
        os.chdir(here)
    lines = [
        "# Broken inputs, before and now",
        "",
        "Made by `python benchmarks/broken_inputs.py`; nano, before: commit 0a7b393.",
        "",
    ]
    for title, rows in tables.items():
        lines += [f"## {title}", "", "| what | before | now |", "|---|---|---|"]
        lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]
    (here / "broken_inputs.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines), f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
