"""What the commands share: consoles, exit codes, progress, and errors in one line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

out = Console()
err = Console(stderr=True)

WRONG, USAGE, INTERRUPTED = 1, 2, 130


def for_people(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors of bad input into one line with exit code 2, and Ctrl-C into a quiet end."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (ValueError, TypeError, OSError, MemoryError) as error:
            message = str(error).replace("[", r"\[")
            err.print(f"[bold red]scc-numba:[/] {message}", highlight=False, soft_wrap=True)
            raise typer.Exit(USAGE) from None
        except KeyboardInterrupt:
            err.print("\nscc-numba: interrupted; nothing half-written was left behind")
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


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
