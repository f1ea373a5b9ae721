"""What `icl serve` is asked for, and what it allows others: a field is an option of the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from icl.commands.number import PositiveNumber


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `icl serve`."""

    host: str = "127.0.0.1"
    """Address to listen at; any but this machine's own demands a token."""
    port: NonNegativeInt = 8000
    """Port to listen at; 0 for any that is free."""
    max_mb: PositiveNumber = 20.0
    """Megabytes of a request."""
    most_rows: PositiveInt = 20_000
    """Rows of a table."""
    most_columns: PositiveInt = 500
    """Columns of a table."""
    most_explained: PositiveInt = 20
    """Rows that one request may have explained."""
    seconds: PositiveNumber = 120.0
    """Of one request, with the time that it waits for others; beyond them it is answered by 503."""
    at_once: PositiveInt = 8
    """Requests that are taken at a time: one is worked on, the others wait for it; more are answered by 503."""
    checkpoint: str | None = None
    """Name of a shipped checkpoint or path of a release folder; default: the best one shipped."""
    members: PositiveInt | Literal["auto"] = "auto"
    """Guises of the table that are averaged; cost grows with it. "auto" takes as many as `icl predict`."""
    seed: NonNegativeInt = 0
    """Of members and folds."""
    device: str = "auto"
    """Where the network runs: auto, cpu or cuda."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in ("127.0.0.1", "localhost", "::1")

    def estimator(self) -> dict[str, Any]:
        """Arguments of the estimators."""
        return {
            "checkpoint": self.checkpoint,
            "n_estimators": self.members,
            "random_state": self.seed,
            "device": self.device,
        }
