"""The High and Medium cases of benchmarks/hostile.py: what the review tried, what came of it, how it is tried now.

A case makes its files in the folder it is given and answers (does it hold, what was said).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

Outcome = tuple[bool, str]


@dataclass(frozen=True)
class Case:
    """A finding: its key in the review, what was tried, what came at commit 0a7b393, and how it is tried now."""

    key: str
    what: str
    before: str
    run: Callable[[Path, Path], Outcome]


CASES: list[Case] = []


def case(key: str, what: str, before: str):
    def keep(run: Callable[[Path, Path], Outcome]) -> Callable[[Path, Path], Outcome]:
        CASES.append(Case(key, what, before, run))
        return run

    return keep


def icl(*words: str | Path) -> tuple[int, str]:
    """Exit code and what was said by the command; what escapes it is raised."""
    from icl.commands.main import main

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        warnings.simplefilter("ignore")
        code = main([str(word) for word in words])
    return code, (err.getvalue() or out.getvalue())


def refused(code: int, said: str) -> Outcome:
    return code == 1 and "Traceback" not in said, f"exit {code}: {said}"


def table(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, n))
    return pd.DataFrame(
        {"y": np.where(np.arange(n) % 2, x + z, np.nan), "x": x, "z": z, "g": np.where(x > 0, "p", "q")}
    )


def labelled_and_new() -> None:
    rows = table().drop(columns="y")
    rows.to_csv("t.csv", index=False)
    rows.drop(columns="g").to_csv("new.csv", index=False)


ESTIMATE = ("estimate", "t.csv", "--predictor", "none")


def _formula(code: str) -> Callable[[Path, Path], Outcome]:
    def run(folder: Path, release: Path) -> Outcome:
        table().to_csv("t.csv", index=False)
        held, said = refused(*icl(*ESTIMATE, "--estimand", f"ols: y ~ {code}"))
        return held and not (folder / "out").exists(), said

    return run


case("H1", "`estimate --estimand \"ols: y ~ np.f2py.os.system('id > out')*x\"`", "runs `id`")(
    _formula("np.f2py.os.system('id > out')*x")
)
case("H1", "`np.load('e.npy', allow_pickle=True)` in a formula", "unpickles: runs what the file holds")(
    _formula("np.load('e.npy', allow_pickle=True)*x")
)


@case("H1", "the same formula in a shared `--config` file", "runs `id`")
def _(folder: Path, release: Path) -> Outcome:
    table().to_csv("t.csv", index=False)
    (folder / "c.yaml").write_text("estimand: \"ols: y ~ np.f2py.os.system('id > out')*x\"\n")
    held, said = refused(*icl("estimate", "--config", "c.yaml", "t.csv", "--predictor", "none"))
    return held and not (folder / "out").exists(), said


@case("H1", "`(a+b+...+z)**13`, found since: formulaic multiplies it out", "no answer in 20 s (commit 9f7c4f2)")
def _(folder: Path, release: Path) -> Outcome:
    table().to_csv("t.csv", index=False)
    return refused(*icl(*ESTIMATE, "--estimand", f"ols: y ~ ({'+'.join('abcdefghijklmnopqrstuvwxyz')})**13"))


@case("H2", "240 rows from the fingerprints of a release, meeting in the middle", "240 rows with labels in 4 s")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.folder import load_release, save_release
    from icl.releases.seen import described, read_seen, seen_of, to_bytes
    from tests.releases.test_fingerprint import meet_in_the_middle, patients

    rows = patients()
    truth = set(rows.itertuples(index=False, name=None))
    tuned = seen_of({"t": rows}, "disease")
    raw = to_bytes(tuned)
    facts = {"seed": 1, "fingerprints": described(tuned, raw)}
    save_release(load_release(release), folder / "r", facts, files={"fingerprints.npz": raw})
    [seen] = read_seen(folder / "r")
    found = [meet_in_the_middle(p) & truth for p in (seen.prints, seen.prints << np.uint64(64 - seen.bits))]
    return not any(found), f"{max(map(len, found))} rows, 0 labels; {seen.bits} bits of a salted scrypt hash a row"


def _over(link: bool, *words: str) -> Callable[[Path, Path], Outcome]:
    def run(folder: Path, release: Path) -> Outcome:
        table().to_csv("t.csv", index=False)
        before = (folder / "t.csv").read_bytes()
        if link:
            os.link("t.csv", "hard.csv")
        held, said = refused(*icl(*words))
        return held and (folder / "t.csv").read_bytes() == before, said

    return run


MEAN = ("estimate", "t.csv", "--predictor", "none", "--outcome", "y", "--output")
case("H3", "`estimate t.csv ... --output t.csv`", "the table becomes one line, exit 0")(_over(False, *MEAN, "t.csv"))
case("H3", "the same by a hard link to it", "the table becomes one line")(_over(True, *MEAN, "hard.csv"))
case("H3", "`compare nano nano --tables t.csv --output t.csv`", "the table becomes scores, exit 0")(
    _over(False, "compare", "nano", "nano", "--tables", "t.csv", "--target", "g", "--output", "t.csv")
)


@case("H3", "`--output` names the `--config` file, found since", "the answer is written over it, exit 0 (9f7c4f2)")
def _(folder: Path, release: Path) -> Outcome:
    table().to_csv("t.csv", index=False)
    (folder / "c.json").write_text('{"outcome": "y", "predictor": "none", "output": "c.json"}')
    held, said = refused(*icl("estimate", "--config", "c.json", "t.csv"))
    return held and "outcome" in (folder / "c.json").read_text(), said


def _weights(change: str) -> Callable[[Path, Path], Outcome]:
    def run(folder: Path, release: Path) -> Outcome:
        import torch
        from safetensors.torch import load_file, save_file

        labelled_and_new()
        shutil.copytree(release, "r")
        weights = load_file("r/model.safetensors")
        if change in ("nan", "inf"):
            weights["norm.weight"][3] = float(change)
        else:
            weights["norm.weight"] = weights["norm.weight"].to(getattr(torch, change))
        save_file(weights, "r/model.safetensors")
        (folder / "r" / "provenance.json").unlink()
        return refused(*icl("predict", "t.csv", "new.csv", "--target", "g", "--checkpoint", "r"))

    return run


for _change in ("nan", "inf", "int64", "bool", "complex64"):
    case("M1", f"`predict` with a release whose weights hold {_change}", "exit 0, class `p` without probabilities")(
        _weights(_change)
    )


def _tampered(change: Callable[[Path], None]) -> Callable[[Path, Path], Outcome]:
    def run(folder: Path, release: Path) -> Outcome:
        labelled_and_new()
        shutil.copytree(release, "r")
        change(folder / "r")
        return refused(*icl("predict", "t.csv", "new.csv", "--target", "g", "--checkpoint", "r"))

    return run


def _config(**fields) -> Callable[[Path], None]:
    def change(release: Path) -> None:
        config = json.loads((release / "config.json").read_text())
        (release / "config.json").write_text(json.dumps(config | fields))

    return change


case("M2", "`config.json` with `n_layers: 100000`", "hangs, fills memory")(_tampered(_config(n_layers=100_000)))
case("M2", "`config.json` with `d_embed: 96000`", "hangs, fills memory")(_tampered(_config(d_embed=96_000)))


@case("M2", "nested YAML aliases, 521 bytes, as `training.yaml`", "hangs, fills memory")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.names import CheckpointError
    from icl.releases.prior_limits import PriorLimits, limits_of
    from icl.releases.reading import read_yaml

    shutil.copytree(release, "r")
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"] + [f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 10)]
    (folder / "r" / "training.yaml").write_text("\n".join(lines))
    try:
        read_yaml(folder / "r" / "training.yaml")
        return False, "read"
    except CheckpointError as error:
        return limits_of(folder / "r") == PriorLimits(), str(error)


@case("M2", "`fingerprints.file: /dev/zero` in `provenance.json`", "reads it until memory is full")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.seen import read_seen

    shutil.copytree(release, "r")
    facts = json.loads((folder / "r" / "provenance.json").read_text())
    facts["fingerprints"]["file"] = "/dev/zero"
    (folder / "r" / "provenance.json").write_text(json.dumps(facts))
    return len(read_seen(folder / "r")) == 1, "reads the folder's own fingerprints.npz, whatever the record names"


@case("M3", "a CSV with 9,000 gene names in its header (> 131,072 bytes)", "the reader crashes")
def _(folder: Path, release: Path) -> Outcome:
    import icl as toolkit

    wide = pd.DataFrame(np.ones((4, 9_000)), columns=[f"ENSG{k:08d}.homo_sapiens" for k in range(9_000)])
    wide.to_csv("wide.csv", index=False)
    return toolkit.read_table("wide.csv").shape == (4, 9_000), "read, 4 x 9,000"


@case("M4", "umask 077: outputs of `estimate`, files of a release", "readable by everybody")
def _(folder: Path, release: Path) -> Outcome:
    from icl.releases.folder import load_release, save_release

    table().to_csv("t.csv", index=False)
    os.umask(0o077)
    icl(*MEAN, "o.json")
    save_release(load_release(release), folder / "saved", {"seed": 1})
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder / "o.json", *(folder / "saved").iterdir())}
    return modes == {0o600}, f"modes {', '.join(f'{mode:o}' for mode in modes)}"


NAMES = ("a\n# b", "[click](http://evil.example)", "<script>alert(1)</script>", "[/bold]", "\x1b[31mred")


@case("M5", "line breaks, links and tags as names in a Markdown report", "verbatim")
def _(folder: Path, release: Path) -> Outcome:
    from icl.inference import OLS, infer

    rows = table()
    named = rows.assign(**dict.fromkeys(NAMES[:3], 0.0))
    for k, name in enumerate(NAMES[:3]):
        named[name] = np.random.default_rng(k).normal(size=len(rows))
    page = infer(OLS("y", covariates=list(NAMES[:3])), named).to_markdown()
    return not any(name in page for name in NAMES[:3]), next(line for line in page.splitlines() if "click" in line)


@case("M6", "a column called `[/bold]` in `estimate`", "a crash, once after writing; or the name vanishes")
def _(folder: Path, release: Path) -> Outcome:
    table().rename(columns={"y": "[/bold]"}).to_csv("t.csv", index=False)
    code, said = icl("estimate", "t.csv", "--predictor", "none", "--outcome", "[/bold]", "--output", "o.csv")
    return code == 0 and "[/bold]" in said, f"exit {code}: {said.strip().splitlines()[0]}"


@case("M7", "absolute paths in the provenance of a fine-tuned release", "the place of every table")
def _(folder: Path, release: Path) -> Outcome:
    table().drop(columns="y").to_csv("t.csv", index=False)
    shutil.copytree(release, "start")
    (folder / "start" / "training.yaml").write_text(f"data: {{folder: {folder}/secret}}\nseed: 1\n")
    tune = ("--steps", "1", "--lr", "0.01", "--replay", "0", "--max_rows", "32", "--checkpoint", "start")
    code, said = icl("finetune", str(folder / "t.csv"), "--target", "g", *tune, "--out", "tuned")
    if code:
        return False, said
    texts = {path.name: path.read_bytes() for path in (folder / "tuned").iterdir()}
    told = [name for name, text in texts.items() if str(folder).encode() in text]
    return not told, f"in {told}" if told else f"none in {', '.join(sorted(texts))}"
