"""A self-contained HTML page from a template beside this file: no link in it leaves the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """Fill a template. Text is escaped; figures, as text from `svg`, are marked safe by the template.

    Raises:
        jinja2.UndefinedError: the template uses a value that was not given.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
