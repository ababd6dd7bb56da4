"""Puts generated output between the markers of README.md, so that no figure in it is typed.

    python -m scc_numba.measure.readme README.md "ladder table=ladder.csv" "make test=output.txt"

`make readme` runs the commands and calls this with what they print.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from scc_numba.kernels import OPS, ladder
from scc_numba.measure.bench.record import recorded
from scc_numba.measure.bench.summary import readme_table
from scc_numba.measure.files import write_whole
from scc_numba.measure.ladder_page import TITLES


def fill(text: str, name: str, content: str) -> str:
    """The text with `content` between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: the text has no such markers, or more than one pair.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    found = pattern.findall(text)
    if len(found) != 1:
        raise ValueError(f"expected one pair of markers '<!-- {name} -->' … '<!-- /{name} -->', found {len(found)}")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def ladder_table(rows: list[dict[str, str]]) -> str:
    """A Markdown table of all rungs from the rows of a ladder.csv."""
    metrics = list(dict.fromkeys(row["metric"] for row in rows if row["metric"]))
    head = ["rung", "idea", "right", *metrics, *(f"times fewer {metric}" for metric in metrics[:1])]
    align = ["---", "---", "---"] + ["---:"] * (len(head) - 3)
    lines = [head, align]
    for op in OPS:
        lines.append([f"**{TITLES[op]}**", *[""] * (len(head) - 1)])
        for rung in ladder(op):
            own = [row for row in rows if row["rung"] == rung.name]
            values = {row["metric"]: f"{float(row['value']):,.0f}" for row in own if row["metric"]}
            ratio = [f"{float(own[0]['times_fewer_than_bottom']):.2f}×"] if metrics else []
            right = "yes" if all(row["right"] == "True" for row in own) else "**no**"
            link = f"[{rung.name}](scc_numba/kernels/{op}/{Path(rung.kernel_file).name})"
            lines.append([link, rung.title, right, *(values.get(metric, "") for metric in metrics), *ratio])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(readme: str, *places: str) -> None:
    """Fill places of the README, each given as "name=file".

    A .csv file becomes a table, a folder of recorded runs the table of times, anything else a command's output.
    """
    path = Path(readme)
    text = path.read_text(encoding="utf-8")
    for place in places:
        name, _, file = place.partition("=")
        if Path(file).is_dir():
            text = fill(text, name, readme_table(recorded(Path(file))))
        elif file.endswith(".csv"):
            with open(file, newline="", encoding="utf-8") as stream:
                text = fill(text, name, ladder_table(list(csv.DictReader(stream))))
        else:
            output = re.sub(r"\n?report: .*", "", Path(file).read_text(encoding="utf-8")).strip()
            text = fill(text, name, f"```console\n$ {name}\n{_without_trailing_spaces(output)}\n```")
    write_whole(path, text)


def _without_trailing_spaces(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


if __name__ == "__main__":
    main(*sys.argv[1:])
