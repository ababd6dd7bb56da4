"""`scc-numba doctor`: what is here, and what is missing."""

from __future__ import annotations

from rich.table import Table

from scc_numba.cli.frame import for_people, out
from scc_numba.device import backend
from scc_numba.device.doctor import examine


@for_people
def doctor_command() -> None:
    """Say what this machine has, which backend runs the kernels and why, and what to install for the rest."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_column(style="yellow", overflow="fold")
    for fact in examine():
        table.add_row(fact.name, fact.found, fact.advice)
    out.print(table, highlight=False, markup=False)
    backend()  # one that cannot start ends the command with an error
