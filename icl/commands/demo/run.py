"""The order of the demonstration: compute, show on the terminal, write the folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from icl.commands.demo.page import Demonstration
from icl.commands.outputs import check_folder
from icl.pages.escape import terminal
from icl.pages.progress import progress

# (splits, contexts, draws of labels from each)
FULL, QUICK = (5, 10, 30), (2, 2, 10)
BAND_CONTEXT = 200


def run_demo(out: str | Path, checkpoint: str | None, seed: int, level: float, quick: bool, console: Any):
    """Run every part, print its table as it is done, write `out`/report.html; returns a Demonstration.

    Raises:
        ValueError: for an unknown or damaged checkpoint.
        OSError: if `out` cannot be written; that is found out before the work begins.
    """
    started = time.perf_counter()
    folder = check_folder("--out", out)
    n_splits, n_contexts, n_each = QUICK if quick else FULL
    n_draws = n_contexts * n_each
    with progress(console) as step:
        step("loading the model", 1)
        import pandas as pd

        from icl.commands.demo import cases, hidden, page, scores, tables, words
        from icl.releases.names import resolve_checkpoint

        name = resolve_checkpoint(checkpoint).name
        real = tables.all_tables()
        by_name = {table.name: table for table in real}
        # Loads the weights and warms up, so that the seconds in the table are those of a prediction.
        band = scores.predictive_band(by_name["diabetes"], BAND_CONTEXT, checkpoint, seed)

        console.print(words.opening(name), "")
        settings = [(table, n) for table in real for n in table.context_sizes]
        tick = step("predicting zero-shot", len(settings) * n_splits)
        parts = [scores.score_models(table, n, n_splits, checkpoint, seed, tick) for table, n in settings]
        table_scores = pd.concat(parts, ignore_index=True)
        for table in page.score_tables(table_scores, n_splits):
            console.print(table, "")
        console.print(terminal(page.score_verdict(table_scores), "italic"))
        console.print(terminal(page.classical_verdict(table_scores), "italic"), "")

        questions = hidden.studies(by_name, checkpoint, seed)
        tick = step("estimating with 60 labels", len(questions))
        answers = []
        for question in questions:
            answers.append(hidden.answer(question, level, seed))
            tick()
        console.print(page.estimate_table(answers, level), "")

        tick = step("hiding the labels again and again", len(questions) * n_draws)
        coverage = pd.concat(
            [hidden.redraw(q, n_contexts, n_each, level, seed, tick) for q in questions], ignore_index=True
        )
        console.print(page.coverage_table(coverage, level, n_draws), "")
        console.print(terminal(page.coverage_verdict(coverage, level), "italic"))
        console.print(terminal(cases.costs(answers[0]), "italic"), "")
        console.print(cases.file_table())
        console.print(terminal(cases.file_verdict(), "italic"))

        step("drawing figures and writing the report", 1)
        done = Demonstration(
            name, level, n_splits, n_draws, table_scores, band, answers, coverage, folder / "report.html"
        )
        page.write(done, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    console.print()
    console.print(f"Report, figures and numbers after {seconds:.0f} s:", terminal(done.report, "bold"), soft_wrap=True)
    return done
