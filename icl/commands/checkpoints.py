"""`icl checkpoints`: what this installation ships."""

from __future__ import annotations

from icl.commands.console import make_console


def checkpoints() -> None:
    """List the checkpoints that this installation ships, best first, with where they come from."""
    from icl.pages.table import Row, Table
    from icl.releases.names import READER, WEIGHTS, available_checkpoints, shipped_folder
    from icl.releases.provenance import provenance_in

    names = available_checkpoints()
    if not names:
        raise FileNotFoundError(
            f"this installation ships no checkpoint ({shipped_folder()} holds none); train one with "
            "`python train.py fit --config configs/nano.yaml`."
        )
    rows = []
    for name in names:
        folder = shipped_folder() / name
        facts = provenance_in(folder)
        size = f"{(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB"
        rows.append(Row([name, size, "yes" if (folder / READER).is_file() else "no", *_origin(facts)]))
    columns = ["name", "size", "fast", "parameters", "tasks seen", "device", "hours", "seed", "made", "commit"]
    make_console().print(Table("Shipped checkpoints", columns, rows))


def _origin(facts: dict) -> list[str]:
    """Cells of provenance; a dash where a fact is missing."""

    def number(key: str) -> str:
        return f"{facts[key]:,.0f}" if isinstance(facts.get(key), (int, float)) else "—"

    seconds = _seconds_in_all(facts)
    hours = f"{seconds / 3600:.1f}" if seconds else "—"
    seen = "tasks_seen_in_all" if "tasks_seen_in_all" in facts else "tasks_seen"
    commit = str(facts.get("git_commit") or "—")
    commit = commit[:8] + ("-dirty" if commit.endswith("-dirty") else "")
    device, made = str(facts.get("device", "—")), str(facts.get("date", "—"))[:10]
    return [number("n_parameters"), number(seen), device, hours, str(facts.get("seed", "—")), made, commit]


def _seconds_in_all(facts: dict) -> float:
    """Seconds of this run and of those whose weights it began with."""
    seconds = facts.get("wall_seconds")
    own = float(seconds) if isinstance(seconds, (int, float)) else 0.0
    return own + (_seconds_in_all(facts["init_from"]) if isinstance(facts.get("init_from"), dict) else 0.0)
