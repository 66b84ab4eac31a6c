"""A figure as a part of a page: it takes the page's colours and letters, and its ids are its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmbench.reporters.charts.ink import COLOURS, GRID, INK, PAPER

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["inlined"]

_TAG = re.compile(r"<[^>]*>")
_APART = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>|<defs>\s*</defs>", re.DOTALL)
_REFERENCE = re.compile(r"""(?<=href=")#([\w.-]+)(?=")|(?<=url\()#([\w.-]+)(?=\))""")
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")
_COLOURS = {INK: "currentColor", GRID: "var(--grid)", PAPER: "var(--paper)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(COLOURS)
}


def inlined(svg: bytes, *, prefix: str, label: str) -> Markup:
    """An SVG document as an element of an HTML page.

    Args:
        svg: What matplotlib wrote.
        prefix: What its ids begin with, unique in the page.
        label: What it shows, for those who do not see it.
    """
    from markupsafe import Markup, escape  # noqa: PLC0415 - comes with Jinja, and is needed when a page is written

    text = svg.decode()
    body = _APART.sub("", text[text.index(">", text.index("<svg")) + 1 :])
    view_box = re.search(r'viewBox="([^"]*)"', text)
    assert view_box is not None, "matplotlib writes one"  # noqa: S101 - a change of matplotlib's would be noticed here
    names = dict.fromkeys(match[1] or match[2] for match in _REFERENCE.finditer(body))
    used = {name: f"{prefix}-{index}" for index, name in enumerate(names)}
    content = _TAG.sub(lambda match: _own(match[0], used), body).strip()
    opening = f'<svg role="img" aria-label="{escape(label)}" viewBox="{view_box[1]}">'
    return Markup(opening + content)  # noqa: S704 - matplotlib escapes what it writes, and the label is escaped


def _own(tag: str, used: dict[str, str]) -> str:
    """One tag with its own ids, the page's colours, and no more digits than a screen has pixels."""
    if "base64" not in tag:
        tag = _LONG_NUMBER.sub(r"\1", tag).replace(" \n", " ").replace("\n", " ")
    tag = re.sub(r' id="([^"]*)"', lambda match: f' id="{used[match[1]]}"' if match[1] in used else "", tag)
    tag = _REFERENCE.sub(lambda match: f"#{used[match[1] or match[2]]}", tag).replace("xlink:href", "href")
    for colour, variable in _COLOURS.items():
        tag = tag.replace(colour, variable)
    return re.sub(r"font-family: [^;\"]*(; )?", "", tag)
