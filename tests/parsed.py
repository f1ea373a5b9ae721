"""Imported by the process that runs of train.py are forked from: what its parser looks up once is there for each."""

import contextlib
import io
import warnings
from pathlib import Path

import train

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    warnings.simplefilter("ignore")  # of libraries about one another, as in the tests of these runs
    train.main(["fit", "--config", str(Path(train.__file__).parent / "configs" / "nano.yaml"), "--print_config"])
