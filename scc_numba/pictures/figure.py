"""What the figures share: their colours, and how they become text that a page can hold."""

from __future__ import annotations

import base64
import io

from matplotlib.figure import Figure

INK = "#1b1f24"
MUTED = "#8b949e"
ACCENT = "#2f6feb"
WARM = "#d9822b"
WRONG = "#c0392b"


def svg(figure: Figure) -> str:
    """The figure as an <svg> element. Equal figures give equal text: no dates, and ids from a fixed salt."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "scc_numba", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """The figure as a PNG file's content."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight", dpi=160)
    return stream.getvalue()


def png_data_url(figure: Figure) -> str:
    """The figure as a data: URL with a PNG, for pictures that are photographs rather than lines."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight", dpi=110)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
