"""What the commands share: consoles, exit codes, progress, and errors in one line."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scc_numba.device import LaunchError, NoBackend
from scc_numba.measure.sass.tools import NoTools

# A pipe or a file has no width of its own; tables want a little more than rich's 80.
_width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
out = Console(width=_width)
err = Console(stderr=True)

# Exit codes: a kernel is wrong; the command was misused; Ctrl-C.
WRONG, USAGE, INTERRUPTED = 1, 2, 130


def for_people(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors of bad input into one line with exit code 2, and Ctrl-C into a quiet end."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            with _hearing_ctrl_c():
                command(*arguments, **options)
        except (ValueError, TypeError, OSError, MemoryError, NoBackend, NoTools, LaunchError) as error:
            err.print(f"[bold red]scc-numba:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(USAGE) from None
        except KeyboardInterrupt:
            err.print("\nscc-numba: interrupted; nothing half-written was left behind")
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


_interrupted = threading.Event()


@contextlib.contextmanager
def _hearing_ctrl_c() -> Iterator[None]:
    # Python drops a KeyboardInterrupt that happens to be raised in a destructor or a callback of the collector;
    # so it is noted as well, and `stop_if_interrupted` raises it anew between two steps of the work.
    _interrupted.clear()
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    if before is signal.default_int_handler:  # not where it is ignored, as in a background job
        signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed. To be called between the steps of long work."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


def progress_bar() -> Progress:
    """Steps done and time left, on the error stream; gone when it ends."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
