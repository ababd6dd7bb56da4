"""`scc-numba run`: an unmodified `@cuda.jit` program, on the emulator where there is no GPU."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from scc_numba.cli.frame import WRONG, for_people

EPILOG = """
The program is what Numba's documentation shows: `@cuda.jit`, `cuda.to_device`, streams, events. Where a GPU works
it runs there, untouched. Findings (races, accesses out of bounds, …) are printed as warnings.

Examples:

`scc-numba run matmul.py`

`scc-numba run --strict train.py --epochs 3` – stop at the first finding; what follows the file is the program's own
"""

# Everything behind the file belongs to the program.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def run_command(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="The program.", metavar="SCRIPT.py")],
    strict: Annotated[bool, typer.Option(help="Stop at the first finding.")] = False,
    target: Annotated[str, typer.Option(help="The GPU generation to emulate.")] = "sm_90",
    max_steps: Annotated[
        int | None, typer.Option(help="Basic blocks a launch may run before it counts as stuck.", min=1)
    ] = None,
) -> None:
    """Run a program written for Numba-CUDA, as it is, on a machine with no GPU."""
    _prepare(script, target, strict, max_steps)
    sys.argv = [str(script), *context.args]
    sys.path.insert(0, str(script.parent.resolve()))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except Exception as error:  # its errors are its own, from its first frame on
        traceback.print_exception(error.with_traceback(_within(error, str(script))))
        raise typer.Exit(WRONG) from None


def _within(error: Exception, script: str) -> TracebackType | None:
    """The part of a traceback that begins in the program."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    return trace


@for_people
def _prepare(script: Path, target: str, strict: bool, max_steps: int | None) -> None:
    from scc_numba.emulator import activate

    if not script.is_file():
        raise FileNotFoundError(f"{str(script)!r} is not a file; expected SCRIPT.py")
    activate(target, strict=strict, max_steps=max_steps)
