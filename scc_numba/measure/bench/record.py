"""Recorded runs: results that are part of the package, one file a GPU, with the tile table that `best` reads.

    python -m scc_numba.measure.bench.record gpu-results/bench

`make readme` makes the README's table of them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from scc_numba.kernels import tile_table
from scc_numba.measure.bench import results
from scc_numba.measure.bench.results import Row
from scc_numba.measure.files import write_whole

RECORDED = tile_table.RECORDED


def record(folder: Path, to: Path = RECORDED) -> list[Path]:
    """Copy a run's results and tile table to where the package keeps them, in place of those of the same GPU.

    Args:
        folder: where `scc-numba bench --output` wrote.
        to: where they go.

    Raises:
        OSError: there are no results.
        ValueError: they are of another format, cut short, or hold no row.
    """
    table = results.read(folder / "bench.csv")
    if table.torn or not table.rows:
        raise ValueError(f"{folder.name}/bench.csv is cut short or empty: let `scc-numba bench` end first")
    tile_table.read_csv(folder / "tiles.csv")
    gpu = re.sub(r"[^A-Za-z0-9]+", "-", table.rows[0]["gpu"]).strip("-")
    places = {folder / "bench.csv": to / f"bench_{gpu}.csv", folder / "tiles.csv": to / f"tiles_{gpu}.csv"}
    for source, place in places.items():
        write_whole(place, source.read_text(encoding="utf-8"))
    return list(places.values())


def recorded(folder: Path = RECORDED) -> list[Row]:
    """The rows of all recorded runs.

    Raises:
        ValueError: a file is of another format, or cut short.
    """
    rows = []
    for path in sorted(folder.glob("bench_*.csv")):
        table = results.read(path)
        if table.torn:
            raise ValueError(f"{path.name!r} is cut short")
        rows += table.rows
    return rows


if __name__ == "__main__":
    for written in record(Path(sys.argv[1])):
        print(written.name)
