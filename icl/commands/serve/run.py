"""Starting the server of `icl serve`."""

from __future__ import annotations

import os
import secrets

from icl.commands.console import make_console
from icl.commands.serve.limits import ServeOptions
from icl.pages.escape import terminal


def token_of(options: ServeOptions) -> str | None:
    """What requests must carry: ICL_TOKEN if it is set; else none on this machine alone, a new one elsewhere."""
    given = os.environ.get("ICL_TOKEN", "").strip()
    if given and len(given) < 16:
        raise ValueError(f"ICL_TOKEN has {len(given)} characters; use at least 16, or unset it.")
    return given or (None if options.is_local else secrets.token_urlsafe(24))


def run_serve(options: ServeOptions) -> None:
    """Serve until interrupted.

    Raises:
        ValueError: if the extra is not installed, or the address cannot be used.
    """
    try:
        import uvicorn

        from icl.commands.serve.app import build_app
    except ImportError as error:
        raise ValueError(f"icl serve needs the extra: pip install '.[serve]' ({error.name} is missing).") from error
    token = token_of(options)
    app = build_app(options, token)
    console = make_console()
    console.print(terminal(f"http://{options.host}:{options.port}  (ctrl-C ends it)"))
    if token is not None and not os.environ.get("ICL_TOKEN"):
        console.print(terminal(f"token: {token}"))
    # Headers are small; a client that sends them a byte at a time is cut off by the keep-alive limit.
    uvicorn.run(
        app, host=options.host, port=options.port, log_level="warning", timeout_keep_alive=5, server_header=False
    )
