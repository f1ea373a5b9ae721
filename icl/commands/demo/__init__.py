"""The demonstration behind `icl demo`: real tables, hidden labels, and what can be said about them."""

from jsonargparse.typing import NonNegativeInt, OpenUnitInterval

from icl.commands.console import make_console


def demo(
    out: str = "icl-demo",
    checkpoint: str | None = None,
    seed: NonNegativeInt = 0,
    level: OpenUnitInterval = 0.95,
    quick: bool = False,
) -> None:
    """Show the main job on real data: predict zero-shot, then estimate from few labels with valid intervals.

    Args:
        out: folder for the report, its figures and its numbers.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        seed: of splits, hidden labels and predictions.
        level: coverage of the confidence intervals, a fraction.
        quick: fewer splits and draws, for a first look.
    """
    from icl.commands.demo.run import run_demo

    run_demo(out, checkpoint, seed, level, quick, make_console())
