"""`scc-numba mutants`: does the checker notice a broken kernel?"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scc_numba.check.mutation import Mutant, Verdict, declared, mutants_of, run_mutants, sample, stale
from scc_numba.check.mutation.report import TO_DIE, contradictions, shares, survivors, to_csv
from scc_numba.cli.frame import INTERRUPTED, WRONG, err, for_people, out, progress_bar, stop_if_interrupted
from scc_numba.kernels import OPS, find_rung, ladder
from scc_numba.measure.files import writable_folder, write_whole

EPILOG = """
A constant one more or less, < for <=, a term dropped, a barrier left out: every such change of a rung's kernels is
compiled and put through the properties of `scc-numba check`, on the emulator. What breaks none survives, and is
listed: it makes no difference, or asks for a test.

Examples:

`scc-numba mutants f2` – all mutants of one rung

`scc-numba mutants --sample 40 --csv mutants.csv` – 40 of every rung, drawn by `--seed`
"""


@for_people
def mutants_command(
    rung: Annotated[list[str] | None, typer.Argument(help="Rungs, such as f2 x1; all if not given.")] = None,
    some: Annotated[
        int | None, typer.Option("--sample", help="So many mutants of each rung, drawn at random.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same mutants.")] = 0,
    layers: Annotated[
        int, typer.Option(help="Layers to draw for a mutant that holds on the chosen ones.", min=1)
    ] = 20,
    seconds: Annotated[float, typer.Option(help="Time for one mutant.", min=1)] = 300,
    processes: Annotated[int, typer.Option(help="How many mutants to run at once.", min=1)] = 1,
    report: Annotated[Path | None, typer.Option(help="Write what is printed to a file.")] = None,
    to_file: Annotated[Path | None, typer.Option("--csv", help="Write every verdict to a table.")] = None,
) -> None:
    """Break the rungs' kernels on purpose, and see whether the checker notices; exit with 1 if too many survive."""
    names = [find_rung(name).name for name in rung or [r.name for op in OPS for r in ladder(op)]]
    for file in (report, to_file):
        if file is not None:
            writable_folder(file.parent)
    drawn = [mutant for name in dict.fromkeys(names) for mutant in sample(mutants_of(name), some, seed)]
    verdicts: list[Verdict] = []
    interrupted = False
    try:
        _run(drawn, verdicts, layers, seconds, processes, to_file)
    except KeyboardInterrupt:
        interrupted = True
    verdicts.sort(key=lambda verdict: drawn.index(verdict.mutant))
    fine = _tell(verdicts, names, report, to_file)
    if interrupted:
        err.print(f"\nscc-numba: interrupted after {len(verdicts)} of {len(drawn)} mutants; this is what they say")
        raise typer.Exit(INTERRUPTED)
    if not fine:
        raise typer.Exit(WRONG)


def _run(
    drawn: list[Mutant], verdicts: list[Verdict], layers: int, seconds: float, processes: int, to_file: Path | None
) -> None:
    with progress_bar() as progress:
        task = progress.add_task("the first rung as it is", total=len(drawn))
        for verdict in run_mutants(drawn, layers=layers, seconds=seconds, processes=processes):
            stop_if_interrupted()
            if isinstance(verdict, str):
                progress.update(task, description=f"{verdict} as it is holds")
                continue
            verdicts.append(verdict)
            progress.update(task, advance=1, description=f"{verdict.mutant.rung}, {verdict.state}")
            if to_file is not None:
                write_whole(to_file, to_csv(verdicts, declared()))


def _tell(verdicts: list[Verdict], names: list[str], report: Path | None, to_file: Path | None) -> bool:
    """Print the report, write the files, and say whether enough mutants died and no declaration is wrong."""
    equivalents = declared()
    table = _table(verdicts)
    lists = {
        "survivors": survivors(verdicts, equivalents),
        "declared equivalent, but not": contradictions(verdicts, equivalents),
        "declared equivalent, but no such line any more": [str(e) for e in stale(equivalents) if e.rung in names],
    }
    text = io.StringIO()
    for console in (out, Console(file=text, width=100)):
        console.print(table, highlight=False)
        for title, entries in lists.items():
            if entries:
                console.print(f"\n[bold]{title}[/]")
                console.print("\n".join(entries), highlight=False, markup=False, soft_wrap=True)
    if report is not None:
        write_whole(report, text.getvalue())
    if to_file is not None:
        write_whole(to_file, to_csv(verdicts, equivalents))
    _, wrong, gone = lists.values()
    return not wrong and not gone and shares(verdicts, equivalents)[-1].of_those_that_differ >= TO_DIE


def _table(verdicts: list[Verdict]) -> Table:
    table = Table(box=None, pad_edge=False)
    headings = (
        "rung",
        "mutants",
        "killed",
        "equivalent",
        "survived",
        "no kernel",
        "killed, %",
        "but for equivalents",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "rung" else "right")
    for s in shares(verdicts, declared()):
        counts = (s.kernels, s.killed, s.equivalent, s.survived, s.stillborn)
        table.add_row(s.name, *map(str, counts), f"{100 * s.of_all:.1f}", f"{100 * s.of_those_that_differ:.1f}")
    return table
