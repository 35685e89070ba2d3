"""What all pages share: one file each, no scripts, nothing from elsewhere, and every name from the
data shown as text."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from headstart.evaluate.results import Estimate

SIDE, EXCERPT = 160, 400  # of a picture in pixels, of a text in characters


def render(template: str, **values: Any) -> str:
    """A page from its template; text is escaped unless it is Markup."""
    pages = Environment(
        loader=PackageLoader("headstart.report"), autoescape=True, undefined=StrictUndefined
    )
    return pages.get_template(template).render(axis_of=axis_of, **values)


def axis_of(figures: Sequence[Estimate]) -> tuple[float, float]:
    """The ends of an axis, in tenths, that shows all intervals as large as can be."""
    high = max(math.ceil(10 * max(figure.high for figure in figures)), 1)
    low = min(math.floor(10 * min(figure.low for figure in figures)), high - 1)
    return low / 10, high / 10


def figure(seen: str | Image.Image) -> Markup:
    """A text, cut where it is long, or a small picture, as HTML."""
    if isinstance(seen, str):
        return Markup("<q>{}</q>").format(seen if len(seen) <= EXCERPT else f"{seen[:EXCERPT]} …")
    small, content = seen.copy(), io.BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(content, "JPEG", quality=80)
    return Markup('<img alt="" src="data:image/jpeg;base64,{}">').format(
        base64.b64encode(content.getvalue()).decode()
    )
