"""The findings about inputs: name, what came before, what is run now."""

from __future__ import annotations

import contextlib
import io
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from reference_inference import interval

import icl
from icl import ICLClassifier, ICLRegressor
from icl.inference import OLS, Design, Mean, infer

FEW = {"checkpoint": "nano", "n_estimators": 1}


def base() -> pd.DataFrame:
    g, n = np.random.default_rng(0), 200
    D = pd.DataFrame({"y": g.normal(size=n), "a": g.normal(size=n), "k": list("uvwx") * 50})
    D["f"] = D["y"] + g.normal(size=n) * 0.3
    D.loc[60:, "y"] = np.nan
    return D


def repeated_rows():
    D = base()[:60]
    thrice = pd.concat([D] * 3, ignore_index=True)
    width = []
    for part in (D, thrice):
        bounds = ICLRegressor(**FEW).fit(part[["a", "k"]], part["y"]).predict_interval(base()[["a", "k"]][60:90], 0.9)
        width.append(float(np.diff(bounds, axis=1).mean()))
    weighted = ICLRegressor(**FEW).fit(D[["a"]], D["y"], sample_weight=np.ones(60))
    return (
        f"mean width of 90% intervals {width[0]:.2f}, rows three times {width[1]:.2f}; sample_weight is taken "
        f"({type(weighted).__name__}); rates in repeats.md"
    )


def index_of_series():
    D = base()
    return interval(infer(Mean("y"), D, predictions=D["f"].sort_values(), weight=1.0))


def precision():
    n = 100
    y = np.arange(n) % 7
    X = pd.DataFrame({"big": 2**60 + y, "text": [f"{10**20 + int(v)}" for v in y]})
    model = ICLRegressor(**FEW).fit(X[["big"]], y * 1.0)
    error = np.abs(model.predict(X[["big"]]) - y).mean()
    return f"2**60 + 0..6 predicts itself to {error:.2f} on average (spread {y.std():.1f}); target: " + refused(
        lambda: ICLRegressor(**FEW).fit(X[["big"]], 2**60 + np.arange(n)).predict(X[["big"]][:1])
    )


def far_outcomes():
    D = base()
    far = D.assign(y=D["y"] * 1e4 + 1.7e12, f=D["f"] * 1e4 + 1.7e12)
    results = [infer(Mean("y"), table, predictions="f") for table in (D, far)]
    width = [float(np.ptp(result.interval().to_numpy())) for result in results]
    codes = [", ".join(d.code for d in result.diagnostics) or "no finding" for result in results]
    return f"width {1e4 * width[0]:.1f} and {width[1]:.1f}; weight {results[1].weight:.3f}; {codes[1]}"


def unseen_levels():
    D = base()[:60].assign(member=lambda d: np.where(d["a"] > 0, "yes", "no"))
    model = ICLRegressor(**FEW).fit(D[["member", "a"]], D["y"])
    return warned(lambda: model.predict(D[["member", "a"]].assign(member=D["member"].str.title() + " ")))


def labels_in_other_case():
    x = np.random.default_rng(0).normal(size=(40, 1))
    y = np.where(x[:, 0] > 0, "high", "low").astype(object)
    y[:3] = ["HIGH", "high  ", "Low"]
    return warned(lambda: ICLClassifier(**FEW).fit(x, y))


def question_mark():
    D = base()[:60].assign(amount=lambda d: [f"{v:.2f}" for v in d["a"]])
    D.loc[5, "amount"] = "?"
    return warned(lambda: ICLRegressor(**FEW).fit(D[["amount"]], D["y"]))


def three_readers():
    D = base()[:60].assign(day=[f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(60)], id=np.arange(60))
    fit = warned(lambda: ICLRegressor(**FEW).fit(D[["day", "id", "a"]], D["y"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        D.to_csv(path, index=False)
        kinds = icl.read_table(path).dtypes.astype(str).to_dict()
    return f"Python: {fit or 'silent'}; read_table: {kinds}"


def arrow_text():
    result = infer(OLS("y ~ a + k"), base().convert_dtypes(), predictions="f")
    arrow = infer(OLS("y ~ a + k"), pa.Table.from_pandas(base()), predictions="f")
    same = np.allclose(result.estimate, infer(OLS("y ~ a + k"), base(), predictions="f").estimate)
    return f"{interval(result, 'a')}, Arrow {interval(arrow, 'a')}; equal to the plain table: {same}"


def arrow_gaps():
    D = base()
    D["y"] = pd.array(D["y"], dtype="Float64")
    return interval(infer(Mean("y"), D, predictions="f"))


def integer_names():
    D = base().rename(columns={"y": 0, "a": 1, "k": 2, "f": 3})
    out = [infer(OLS(0, covariates=[1]), D, predictions=3), infer(Mean(0, by=2), D, predictions=3),
           infer(Mean(0), D, predictions=3, design=Design(strata=2))]  # fmt: skip
    return "; ".join(interval(result) for result in out) + f"; summary() {len(out[0].summary())} letters"


def one_event():
    D = base().assign(y=lambda d: np.where(d["y"].isna(), np.nan, (np.arange(200) == 3) * 1.0))
    return interval(infer(Mean("y"), D[["y", "a"]], predictor=ICLClassifier(**FEW)))


def a_class():
    return interval(infer(Mean("y"), base(), predictor=ICLRegressor))


def mixed_types():
    D = base().assign(g=lambda d: [i % 3 if i % 2 else "x" for i in range(200)])
    return "; ".join(
        refused(lambda design=design: interval(infer(Mean("y"), D, predictions="f", design=design)))
        for design in (Design(clusters="g"), Design(strata="g"))
    ) + "; by: " + interval(infer(Mean("y", by="g"), D, predictions="f"))  # fmt: skip


def unused_categories():
    D = base().assign(k=lambda d: pd.Categorical(d["k"], categories=list("uvwxyz")))
    return interval(infer(OLS("y ~ k"), D, predictions="f"))


def decimals():
    D = base().assign(a=lambda d: [Decimal(f"{v:.3f}") for v in d["a"]])
    D["y"] = [None if np.isnan(v) else Decimal(f"{v:.3f}") for v in D["y"]]
    return interval(infer(OLS("y ~ a"), D, predictions="f"))


def bad_formula():
    return interval(infer(OLS("y ~ a +* k"), base(), predictions="f"))


def text_level():
    return interval(infer(Mean("y"), base(), predictions="f", level="0.9"))


def no_cuda():
    return str(ICLRegressor(device="cuda", **FEW).fit(base()[["a"]][:60], base()["y"][:60]))


def sparse():
    from scipy.sparse import csr_matrix

    return str(ICLRegressor(**FEW).fit(csr_matrix(np.eye(30)), np.arange(30.0)))


def far_covariate():
    D = base().assign(a=lambda d: d["a"] * 1e-3 + 1e7)
    return interval(infer(OLS("y ~ a"), D, predictions="f"))


def _read(text: bytes, **options):
    def run():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            path.write_bytes(text)
            table = icl.read_table(path, **options)
        return ", ".join(f"{name}: {table[name].dtype} {table[name].iloc[0]}" for name in table.columns)

    return run


GERMAN = "\ufeffname;income;share;day\n" + "\n".join(
    f"A{i};{30 + i}.361,86 EUR;{i},4 %;{10 + i}.02.2023" for i in range(19)
)
AMERICAN = (
    "name,income,share,day\n"
    + "\n".join(f'A{i},"$38,3{i:02d}.86",{i}.4%,02/{10 + i}/2023' for i in range(18))
    + "\nB,?,-,02/17/2023\n"
)
BRITISH = "day,v\n" + "\n".join(f"{d:02d}/03/2023,{d}" for d in range(1, 29))
LATIN = "stadt,v\nKöln,1\nMünchen,2\nKöln,3\n"
CODES = "zip,v\n04109,1\n04103,2\n10115,3\n"


def text_estimand():
    return interval(infer("ols: y ~ a", base(), predictions="f"), "a")


def polars_table():
    try:
        import polars
    except ImportError:
        return (
            "not tried: polars is not installed here "
            "(anything with to_pandas is taken, tests/inference/test_infer_frames.py)"
        )
    return interval(infer(Mean("y"), polars.from_pandas(base()), predictions="f"))


def familiar_names():
    result = infer(OLS("y ~ a"), base(), predictions="f")
    names = ("params", "bse", "pvalues", "conf_int", "t_test", "wald_test")
    return "there: " + ", ".join(name for name in names if hasattr(result, name))


def distributions():
    model = ICLRegressor(**FEW).fit(base()[["a"]][:60], base()["y"][:60])
    dist = model.predict_distribution(base()[["a"]][:2])
    log_prob = np.asarray(dist.log_prob(np.zeros(2))).round(2)
    return f"{dist!r}; sample(3) {np.asarray(dist.sample(3)).shape}; log_prob of NumPy {log_prob}"


def whole_comparison():
    text = repr(infer(OLS("y ~ a"), base(), predictions="f").compare())
    return f"cut off: {'...' in text}; widest line {max(map(len, text.splitlines()))}"


def spellings() -> str:
    """Where the option is known, it is the missing file that is complained of."""
    from icl.commands.main import main

    said = []
    for option in ("--no-check", "--no_check"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            main(["predict", "nowhere.csv", "new.csv", "--target", "y", option])
        said.append(f"{option}: {out.getvalue().strip()[:90]}")
    return "; ".join(said)


def refused(run) -> str:
    try:
        return str(run())
    except (ValueError, TypeError) as reason:
        return f"{type(reason).__name__}: {reason}"


def warned(run) -> str:
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return "; ".join(f"{w.category.__name__}: {w.message}" for w in caught)


INPUTS = [
    ("F1 repeated rows", "coverage x1 .915, x2 .712, x3 .488", repeated_rows),
    ("F8 the index of predictions", "[1.54, 2.10], right is [-.28, .10]", index_of_series),
    ("F6 precision", '"constant"; "the one value"', precision),
    ("F7 outcomes far from zero", "false in_sample, weight 0, width 4718 against 2917", far_outcomes),
    ("levels never seen", "R2 .797 to .438 without a word", unseen_levels),
    ("labels in other case", "8 classes, silently", labels_in_other_case),
    ('F13 one "?"', "119 levels, accuracy .575", question_mark),
    ("three readers", "188 levels of dates, id kept", three_readers),
    ("F2 Arrow text in formulas", "could not convert string to float: 'u'", arrow_text),
    ("F3 gaps in Float64", "five different errors", arrow_gaps),
    ("F4 integer names", "crashes", integer_names),
    ("F5 exactly one event", "fold 4 ... holds the one class 0", one_event),
    ("F5 a class for an instance", "bare TypeError", a_class),
    ("F9 mixed types", "'<' not supported", mixed_types),
    ("F11 unused categories", '"collinear"', unused_categories),
    ("F12 Decimals", "dummies; a Decimal outcome refused", decimals),
    ("formula errors", "raw escape codes", bad_formula),
    ('level="0.9"', "raw TypeError", text_level),
    ("device=cuda without CUDA", "bare AssertionError", no_cuda),
    ("sparse input", "no advice", sparse),
    ("a covariate far from zero", '"collinear"', far_covariate),
    ("German business file", "classification of 196 labels, accuracy .000", _read(GERMAN.encode("utf-8"))),
    ("US business file", "R2 .281, cleaned .763", _read(AMERICAN.encode())),
    ("dd/mm/yyyy", "R2 .306, ISO .980", _read(BRITISH.encode())),
    ("Latin-1", "refused", _read(LATIN.encode("latin-1"))),
    ("codes such as 04109", "4109 in Excel", _read(CODES.encode())),
    ("--no-check, --no_check", "one of them rejected", spellings),
    ('infer("ols: ...")', "refused", text_estimand),
    ("polars in infer", "refused", polars_table),
    ("statsmodels' names", "missing", familiar_names),
    ("distributions", "an address; sample needs a generator; log_prob fails", distributions),
    ("compare() printed", "cut off", whole_comparison),
]
