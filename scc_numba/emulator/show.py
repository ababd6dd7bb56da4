"""Prints a report: the source with its counts on a terminal, in a notebook, or beside another report."""

from __future__ import annotations

import html
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from .report import Line, Report


def _number(n: float) -> str:
    """A count in at most five characters, nothing for zero."""
    if n == 0:
        return ""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if n >= limit:
            scaled = n / {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}[unit]
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return f"{n:.0f}"


# Heading, what it means, and how to get it from a line.
COLUMNS: list[tuple[str, str, Any]] = [
    ("instr", "PTX instructions issued, each counted once a warp", lambda x: x.instructions),
    ("lanes", "mean share of lanes that take part", lambda x: x.active_lanes),
    ("flop", "floating-point operations", lambda x: x.flops),
    ("ld req", "global load requests", lambda x: x.global_load.requests),
    ("ld sec", "32-byte sectors they touch", lambda x: x.global_load.sectors),
    ("st req", "global store requests", lambda x: x.global_store.requests),
    ("st sec", "32-byte sectors they touch", lambda x: x.global_store.sectors),
    ("sh req", "shared-memory requests", lambda x: x.shared_load.requests + x.shared_store.requests),
    ("sh wave", "wavefronts they need", lambda x: x.shared_load.wavefronts + x.shared_store.wavefronts),
    ("local", "sectors of local memory", lambda x: x.local_load.sectors + x.local_store.sectors),
    ("atomic", "atomic operations", lambda x: x.atomics.operations),
]


def _cell(heading: str, value: float) -> str:
    return (f"{value:.0%}" if value else "") if heading == "lanes" else _number(value)


def _used(report: Report) -> list[tuple[str, str, Any]]:
    """Columns in which any line has something."""
    return [c for c in COLUMNS if any(c[2](line) for line in report.lines)]


def _rows(report: Report) -> list[tuple[str, int, str, Line | None]]:
    """(file, line number, text, counts) for all lines from the first counted one to the last, file by
    file.
    """
    import linecache

    out: list[tuple[str, int, str, Line | None]] = []
    files = sorted({line.file for line in report.lines})
    for file in files:
        mine = {line.line: line for line in report.lines if line.file == file and line.line}
        if not mine:
            continue
        first, last = min(mine), max(mine)
        gap = False
        for number in range(first, last + 1):
            text = linecache.getline(file, number).rstrip("\n")
            if number not in mine and not text.strip():
                continue
            near = any(abs(number - k) <= 3 for k in mine)
            if not near:
                if not gap:
                    out.append((file, 0, "…", None))
                gap = True
                continue
            gap = False
            out.append((file, number, text, mine.get(number)))
    return out


def summary(report: Report) -> list[str]:
    """The report in a few sentences of numbers."""
    if not report.counted:
        launched = f"{report.kernel}  grid {report.grid}  block {report.block}  {report.target}"
        return [launched, "not counted (counters=False)"]
    g, s = report.global_load, report.global_store
    lines = [
        f"{report.kernel}  grid {report.grid}  block {report.block}  {report.target}",
        f"{report.instructions:,} PTX instructions issued (each counted once a warp), "
        f"{report.active_lanes:.0%} of lanes active, "
        f"{report.flops:,} flop, {report.barriers:,} barriers, {report.divergent_branches:,} divergent "
        f"branches",
        f"global loads {g.requests:,} requests, {g.sectors:,} sectors; stores {s.requests:,} requests, "
        f"{s.sectors:,} sectors; "
        f"{report.unique_sectors:,} unique sectors",
    ]
    if report.shared_load.requests or report.shared_store.requests:
        a, b = report.shared_load, report.shared_store
        lines.append(
            f"shared loads {a.requests:,} requests, {a.wavefronts:,} wavefronts ({a.conflicts:,} by "
            f"conflicts); "
            f"stores {b.requests:,} requests, {b.wavefronts:,} wavefronts ({b.conflicts:,} by conflicts)"
        )
    if report.atomics.requests:
        t = report.atomics
        lines.append(
            f"atomics {t.requests:,} requests, {t.operations:,} operations, {t.worst_contention:,} on one "
            f"address at worst"
        )
    return lines


def show(report: Report, file: Any = None) -> None:
    """Print a report with rich.

    Args:
        report: what `launch` returned.
        file: a text file to print to; the terminal by default.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file)
    if not console.is_terminal:
        console = Console(file=file, width=150)
    for sentence in summary(report):
        console.print(sentence, highlight=False)
    if report.counted:
        console.print(_table(report))
    for f in report.findings:
        console.print(Text(f"{f.kind}: ", style="bold magenta") + Text(f.message))


def _table(report: Report) -> Table:
    """The source with the counts beside each line."""
    from rich.syntax import Syntax
    from rich.table import Table
    from rich.text import Text

    columns = _used(report)
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("line", justify="right", style="dim")
    table.add_column("source", no_wrap=True, overflow="ellipsis")
    for heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    most = [max((c[2](line) for line in report.lines), default=0) for c in columns]
    shown = None
    for name, number, text, line in _rows(report):
        if name != shown:
            table.add_row("", Text(os.path.basename(name), style="italic"))
            shown = name
        code = Syntax(text or " ", "python", theme="ansi_light", background_color="default").highlight(text)
        code.rstrip()
        cells = []
        for (heading, _, value), top in zip(columns, most, strict=True):
            v = value(line) if line is not None else 0
            hot = top and heading != "lanes" and v >= top / 2
            cells.append(Text(_cell(heading, v), style="bold red" if hot else ""))
        mark = " ◀ " + ", ".join(f.kind for f in line.findings) if line is not None and line.findings else ""
        code.append(mark, style="bold magenta")
        table.add_row(str(number) if number else "", code, *cells)
    return table


def compare(left: Report, right: Report, file: Any = None) -> None:
    """Print the totals of two reports side by side.

    Args:
        left: the base: ratios are how much the other one has of what this one has.
        right: the one that is held against it.
        file: a text file to print to; the terminal by default.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("count")
    table.add_column(f"{left.kernel} (base)", justify="right")
    table.add_column(right.kernel, justify="right")
    table.add_column("of the base", justify="right")
    rows: list[tuple[str, Any]] = [
        ("PTX instructions issued", lambda r: r.instructions), ("flop", lambda r: r.flops),
        ("global load requests", lambda r: r.global_load.requests),
        ("global load sectors", lambda r: r.global_load.sectors),
        ("global store requests", lambda r: r.global_store.requests),
        ("global store sectors", lambda r: r.global_store.sectors),
        ("unique sectors", lambda r: r.unique_sectors),
        ("shared wavefronts", lambda r: r.shared_load.wavefronts + r.shared_store.wavefronts),
        ("atomic operations", lambda r: r.atomics.operations), ("barriers", lambda r: r.barriers),
    ]  # fmt: skip
    for name, value in rows:
        a, b = value(left), value(right)
        if a or b:
            table.add_row(name, f"{a:,}", f"{b:,}", f"{b / a:.3g}×" if a else "")
    Console(file=file).print(table)


_STYLE = (
    "<style>.scc-emu{font:13px/1.35 ui-monospace,monospace;border-collapse:collapse;color:inherit}"
    ".scc-emu td,.scc-emu th{padding:1px 7px;text-align:right;border:0;background:none}"
    ".scc-emu td.src{text-align:left;white-space:pre}.scc-emu td.no{opacity:.55}"
    ".scc-emu .bar{display:inline-block;height:9px;background:#d1495b;vertical-align:middle}"
    ".scc-emu .bad{color:#b3126f;font-weight:bold}</style>"
)


def as_html(report: Report) -> str:
    """The report as one self-contained piece of HTML, with a heat bar a line (its share of all
    instructions).
    """
    parts = [
        _STYLE,
        "<div class='scc-emu-head'>",
        "<br>".join(html.escape(s) for s in summary(report)),
        "</div>",
    ]
    if report.counted:
        parts += _html_table(report)
    for f in report.findings:
        parts.append(f"<div><span class='bad'>{f.kind}</span> {html.escape(f.message)}</div>")
    return "".join(parts)


def _html_table(report: Report) -> list[str]:
    columns = _used(report)
    total = max(report.instructions, 1)
    parts = []
    parts.append("<table class='scc-emu'><tr><th></th><th></th><th style='text-align:left'>source</th>")
    parts += [f"<th title='{html.escape(meaning)}'>{heading}</th>" for heading, meaning, _ in columns]
    parts.append("</tr>")
    for _, number, text, line in _rows(report):
        share = line.instructions / total if line is not None else 0.0
        mark = ""
        if line is not None and line.findings:
            why = html.escape("; ".join(f.message for f in line.findings), quote=True)
            kinds = ", ".join(f.kind for f in line.findings)
            mark = f" <span class='bad' title='{why}'>◀ {kinds}</span>"
        parts.append(
            f"<tr><td class='no'>{number or ''}</td><td title='{share:.1%} of the instructions'>"
            f"<span class='bar' style='width:{round(60 * share)}px'></span></td>"
            f"<td class='src'>{html.escape(text)}{mark}</td>"
        )
        for heading, _, value in columns:
            parts.append(f"<td>{_cell(heading, value(line)) if line is not None else ''}</td>")
        parts.append("</tr>")
    parts.append("</table>")
    return parts
