"""`scc-numba check`: is a kernel right?"""

from __future__ import annotations

from typing import Annotated

import typer

from scc_numba.check import check
from scc_numba.cli.arguments import load_object, parse_dtype, parse_op
from scc_numba.cli.frame import WRONG, for_people, out, progress_bar, stop_if_interrupted
from scc_numba.kernels import Rung, find_rung

EPILOG = """
The function is called as `run(x, weight, bias=None, *, channels)`, `run(grad_output, weight, *, channels)` or
`run(grad_output, x, *, channels)`, with NumPy arrays, and returns one. A `Rung` works too.

Examples:

`scc-numba check my_kernel.py:run --op forward`

`scc-numba check my_kernel.py:RUNG --op grad_weight --examples 1000 --dtype float32`

`scc-numba check x1` – a rung of this project
"""


@for_people
def check_command(
    what: Annotated[
        str, typer.Argument(help="FILE.py:FUNCTION, or the name of a rung.", metavar="FILE.py:FUNCTION")
    ],
    op: Annotated[str | None, typer.Option(help="forward, grad_input or grad_weight.")] = None,
    examples: Annotated[int, typer.Option(help="How many layers to draw.", min=1)] = 100,
    dtype: Annotated[list[str] | None, typer.Option(help="float32, float64, …; by default all of a rung.")] = None,
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
    elif what.endswith(".py"):
        raise ValueError(f"{what!r} names a file; expected FILE.py:FUNCTION, such as {what}:run")
    else:
        run = find_rung(what)
        op = op or run.op
    dtypes = [parse_dtype(name).name for name in dtype] if dtype else None
    with progress_bar() as progress:
        task = progress.add_task(f"{what}, layers", total=examples)

        def on_example(count: int) -> None:
            stop_if_interrupted()
            progress.update(task, completed=min(count, examples))

        result = check(
            run,
            parse_op(op),
            max_examples=examples,
            dtypes=dtypes,
            seed=seed,
            on_example=on_example,
        )
    out.print(str(result), highlight=False, markup=False, soft_wrap=True)
    if not result.passed:
        raise typer.Exit(WRONG)
