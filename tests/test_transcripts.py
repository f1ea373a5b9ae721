"""What README and docs/results.md show is what comes out: commands, Python, and numbers in sentences."""

import os
import re
import shlex
from pathlib import Path

import pytest

import icl
from icl.commands.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
TRANSCRIPTS = re.findall(r"^```\n\$ icl (.*?)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_example_runs_and_is_short(capsys):
    [example] = re.findall(r"```python\n(.*?)```", RESULTS, re.DOTALL)
    assert len(example.strip().splitlines()) <= 15
    names = {}
    exec(compile(example, "results.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "ppi++" in printed and "imputed" in printed
    low, high = names["result"].interval(0.95).loc["age"]
    assert low < names["result"].estimate["age"] < high
    told = [int(n) for n in re.search(r"100 labels are worth (\d+) to (\d+)", RESULTS).groups()]
    worth = names["result"].n_effective
    assert [round(worth.min()), round(worth.max())] == pytest.approx(told, abs=2)  # another BLAS moves the last digit


@pytest.mark.parametrize(("command", "shown"), TRANSCRIPTS, ids=lambda text: text.split()[0])
def test_transcripts_are_what_commands_print(command, shown, capsys, monkeypatch):
    """Line by line, numbers within 1 %, for another matrix library moves them. "..." stands for lines left out."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(shlex.split(command)) == 0
    printed = iter(line.split() for line in capsys.readouterr().out.splitlines() if line.strip())
    for wanted in (line.split() for line in shown.splitlines() if line.strip() and line != "..."):
        assert any(alike(wanted, line) for line in printed), f"not printed (or not in this place): {' '.join(wanted)}"


def alike(wanted: list[str], line: list[str]) -> bool:
    """The same words, and nearly the same numbers."""
    if len(wanted) != len(line):
        return False
    return all(a == b or (is_number(a) and is_number(b) and near(a, b)) for a, b in zip(wanted, line))


def is_number(word: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", word) is not None


def near(a: str, b: str) -> bool:
    """Within 1 %, and one in the last place."""
    return abs(float(a) - float(b)) <= 0.01 * abs(float(a)) + 10.0 ** -len(a.partition(".")[2])


def test_the_python_of_the_front_door_runs():
    names: dict = {"icl": icl}
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    example = example.replace("ICLRegressor()", 'ICLRegressor("nano", n_estimators=1)').replace(
        "coverage=0.9", "coverage=0.9, folds=2"
    )
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        exec(compile(example, "README.md", "exec"), names)
    finally:
        os.chdir(here)
    assert names["y"].notna().sum() == 100
