"""The `scc-numba` command."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from scc_reference import SlidingChannels

from scc_numba.check import check as check_callable
from scc_numba.device import choose
from scc_numba.device.doctor import examine
from scc_numba.kernels import OPS, Op, Rung, find_rung, ladder
from scc_numba.kernels.rung import closest
from scc_numba.measure.climb import Climb, climb, to_csv
from scc_numba.measure.files import writable_folder, write_whole
from scc_numba.measure.ladder_page import (
    HONESTY,
    TITLES,
    format_error,
    format_figure,
    format_ratio,
    ladder_page,
)
from scc_numba.measure.photo import load_photo, make_batch

app = typer.Typer(
    name="scc-numba",
    help="Sliding-channel convolution in Numba-CUDA, rung by rung.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

DEFAULT_LAYER = "4,64,64,32,32,4,0.5"
WRONG, USAGE, INTERRUPTED = 1, 2, 130


def main() -> None:
    """Run the command."""
    app()


def _for_people(command: Callable[..., None]) -> Callable[..., None]:
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


LADDER_EPILOG = f"""
Examples:

`scc-numba ladder` – every rung on a photograph that scikit-learn ships (layer {DEFAULT_LAYER})

`scc-numba ladder --layer 1,64,64,14,14,2,0.33 --op grad_input`

`scc-numba ladder --image me.jpg --report my-report` – also writes my-report/index.html and ladder.csv
"""


@app.command("ladder", epilog=LADDER_EPILOG)
@_for_people
def ladder_command(
    layer: Annotated[
        str, typer.Option(help="N,C,K,H,W,groups,overlap of the SCC layer.", metavar="N,C,K,…")
    ] = DEFAULT_LAYER,
    image: Annotated[Path | None, typer.Option(help="A photograph of yours, instead of the built-in one.")] = None,
    op: Annotated[
        list[str] | None, typer.Option(help="One ladder only: forward, grad_input or grad_weight. May repeat.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    report: Annotated[
        Path | None, typer.Option(help="Folder for index.html (self-contained) and ladder.csv.", metavar="DIR")
    ] = None,
) -> None:
    """Take a photograph through every rung of the three ladders: is it right, and what does it cost?"""
    batch_size, height, width, channels = parse_layer(layer)
    ops = [_op(name) for name in op] if op else list(OPS)
    number = _dtype(dtype)
    if report is not None:
        writable_folder(report)
    name, photo = load_photo(image)
    batch = make_batch(name, photo, batch_size, channels.in_channels, height, width)
    with _progress() as progress:
        task = progress.add_task("starting", total=sum(len(ladder(one)) for one in ops))
        seen = 0

        def on_step(rung: Rung) -> None:
            nonlocal seen
            progress.update(task, completed=seen, description=f"{rung.name} {rung.title}")
            seen += 1

        result = climb(batch.maps.astype(number), channels, ops=ops, on_step=on_step)
        progress.update(task, completed=seen)
    show_climb(result, batch.name)
    if report is not None:
        command = "scc-numba " + " ".join(sys.argv[1:])
        write_whole(report / "index.html", ladder_page(result, batch, command))
        write_whole(report / "ladder.csv", to_csv(result))
        out.print(f"report: {report / 'index.html'} and {report / 'ladder.csv'}", highlight=False)
    if not result.right:
        raise typer.Exit(WRONG)


def show_climb(result: Climb, photo_name: str) -> None:
    """Print the ladders as a table."""
    out.print(f"[bold]layer[/]   {result.layer}", highlight=False)
    out.print(f"[bold]input[/]   {photo_name}", highlight=False)
    out.print(f"[bold]backend[/] {result.backend.backend}, since {result.backend.reason}", highlight=False)
    figures = next((step.figures for step in result.steps), ())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rung")
    table.add_column("idea", overflow="fold")
    table.add_column("result")
    table.add_column("error", justify="right")
    for i, figure in enumerate(figures):
        table.add_column(figure.short, justify="right", no_wrap=True)
        if i == 0:
            table.add_column("ratio", justify="right", no_wrap=True)
    for op in OPS:
        for i, step in enumerate(result.of(op)):
            if i == 0:
                table.add_row("", f"[italic]{TITLES[op]}[/]")
            cells = [step.rung.name, step.rung.title]
            cells += ["[green]right[/]" if step.right else "[bold red]wrong[/]", format_error(step.error)]
            values = [format_figure(figure) for figure in step.figures]
            cells += [*values[:1], format_ratio(step.ratio), *values[1:]] if values else []
            table.add_row(*cells)
    out.print(table)
    legend = ["error: largest distance from the float64 reference, in units of its bound (right: at most 1)"]
    legend += [f"{figure.short}: {figure.name}" for figure in figures]
    if figures:
        legend.insert(2, f"ratio: how many {figures[0].gain} than the bottom rung")
    out.print("; ".join(legend) + ".", style="dim", highlight=False)
    out.print(HONESTY[result.backend.backend], style="dim", highlight=False)


CHECK_EPILOG = """
The function is called as `run(x, weight, bias=None, *, channels)`, `run(grad_output, weight, *, channels)` or
`run(grad_output, x, *, channels)`, with NumPy arrays, and returns one. A `Rung` works too.

Examples:

`scc-numba check my_kernel.py:run --op forward`

`scc-numba check my_kernel.py:RUNG --op grad_weight --examples 1000 --dtype float32`

`scc-numba check x1` – a rung of this project
"""


@app.command("check", epilog=CHECK_EPILOG)
@_for_people
def check_command(
    what: Annotated[
        str, typer.Argument(help="FILE.py:FUNCTION, or the name of a rung.", metavar="FILE.py:FUNCTION")
    ],
    op: Annotated[str | None, typer.Option(help="forward, grad_input or grad_weight.")] = None,
    examples: Annotated[int, typer.Option(help="How many layers to draw.", min=1)] = 100,
    dtype: Annotated[list[str] | None, typer.Option(help="float32 or float64; both if not given.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same layers.")] = 0,
) -> None:
    """Hold a kernel to every property of sliding-channel convolution; exit with 1 if it breaks one."""
    if ":" in what:
        run = load_object(what)
        if op is None and isinstance(run, Rung):
            op = run.op
        if op is None:
            raise ValueError(
                "--op is needed to know what the function computes: forward, grad_input or grad_weight"
            )
    else:
        run = find_rung(what)
        op = op or run.op
    dtypes = [_dtype(name).name for name in dtype] if dtype else ["float32", "float64"]
    with _progress() as progress:
        task = progress.add_task(f"{what}, layers", total=examples)
        result = check_callable(
            run,
            _op(op),
            max_examples=examples,
            dtypes=dtypes,
            seed=seed,
            on_example=lambda count: progress.update(task, completed=min(count, examples)),
        )
    out.print(str(result), highlight=False, markup=False, soft_wrap=True)
    if not result.passed:
        raise typer.Exit(WRONG)


@app.command("doctor")
@_for_people
def doctor_command() -> None:
    """Say what this machine has, which backend runs the kernels and why, and what to install for the rest."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_column(style="yellow", overflow="fold")
    for fact in examine():
        table.add_row(fact.name, fact.found, fact.advice)
    out.print(table, highlight=False, markup=False)
    choose()


def parse_layer(text: str) -> tuple[int, int, int, SlidingChannels]:
    """Batch, height, width and channels from "N,C,K,H,W,groups,overlap".

    Raises:
        ValueError: it has another form, or a number breaks its rule.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 7:
        raise ValueError(f"layer={text!r} has {len(parts)} parts, expected the 7 of N,C,K,H,W,groups,overlap")
    names = ("N", "C", "K", "H", "W", "groups")
    try:
        N, C, K, H, W, groups = (int(part) for part in parts[:6])
    except ValueError:
        bad = next(f"{name}={part!r}" for name, part in zip(names, parts, strict=False) if not _is_int(part))
        raise ValueError(f"layer={text!r}: {bad} is not a whole number") from None
    try:
        overlap = float(parts[6])
    except ValueError:
        raise ValueError(f"layer={text!r}: overlap={parts[6]!r} is not a number") from None
    for name, size in (("N", N), ("H", H), ("W", W)):
        if size < 1:
            raise ValueError(f"layer={text!r}: {name}={size} must be at least 1, or there is no picture to see")
    return N, H, W, SlidingChannels(C, K, groups, overlap)


def load_object(spec: str) -> Any:
    """The object that "FILE.py:NAME" names; the file is imported, its folder first on the path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not import, or has no such name; the message says why, or suggests the nearest.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{file!r} is not a file; expected FILE.py:FUNCTION")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    if module_spec is None or module_spec.loader is None:
        raise ValueError(f"{file!r} is not a Python file; expected FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(module_spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module  # so that tracebacks, pickles and dataclasses find it
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{file!r} does not import: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not (callable(found) or isinstance(found, Rung)):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"{file!r} has no function {name!r}: {closest(name, public)}")
    return found


def _op(name: str) -> Op:
    for op in OPS:
        if name == op:
            return op
    raise ValueError(f"op={name!r} is not an operation: {closest(name, OPS)}")


def _dtype(name: str) -> np.dtype[Any]:
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype={name!r} is not one of float32, float64")
    return np.dtype(name)


def _is_int(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )


if __name__ == "__main__":
    main()
