"""How charts look, and how a figure becomes a file: nothing of the caller's matplotlib is changed."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

__all__ = ["COLOURS", "GRID", "INK", "PAPER", "Mark", "mark", "rendered", "settings"]

INK = "#1d2329"
"""Lines and letters; a page puts its own text colour in its place."""

GRID = "#d5dade"
"""What must not be in the way; a page puts its own in its place."""

PAPER = "#ffffff"

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#888888")
"""Okabe and Ito's, told apart by colour-blind readers, without black and yellow, which a dark or a light page swallows."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES: tuple[LineStyleType, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.constrained_layout.use": True,
    "figure.facecolor": PAPER,
    "figure.titlesize": 11,
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "savefig.dpi": 160,
    "svg.fonttype": "none",  # letters stay letters: smaller, selectable, read aloud
    "svg.hashsalt": "fmbench",  # the same result draws the same bytes
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}
_OF_THE_SESSION = frozenset({"backend", "backend_fallback", "interactive", "toolbar", "webagg.address", "webagg.port"})
_ONE_AT_A_TIME = threading.Lock()
"""matplotlib's settings are the process's, so two reports must not change them in turns."""


class Mark(NamedTuple):
    """How one series is told from the others: by colour, and without it."""

    colour: str
    marker: str
    line: LineStyleType


def mark(index: int) -> Mark:
    """The mark of the series number ``index``; no two of the first 56 are alike."""
    return Mark(COLOURS[index % 7], _MARKERS[index % 8], _LINES[(index + index // 8) % 4])


@contextmanager
def settings() -> Generator[None]:
    """Draw inside: fmbench's settings hold, whatever the caller's are, which are as before afterwards."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy

    style: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if key not in _OF_THE_SESSION}
    style |= _STYLE
    with _ONE_AT_A_TIME, mpl.rc_context(style):
        yield


def rendered(figure: Figure, form: str, *, transparent: bool = False) -> bytes:
    """The figure as ``svg`` or ``png``; to be called under ``settings``."""
    buffer = io.BytesIO()
    undated = {"Date": None, "Creator": None, "Format": None, "Type": None} if form == "svg" else {"Software": None}
    with _without_glyph_warnings(figure):
        figure.savefig(buffer, format=form, metadata=undated, transparent=transparent)
    return buffer.getvalue()


@contextmanager
def _without_glyph_warnings(figure: Figure) -> Generator[None]:
    """A name in a script that matplotlib's font lacks is no reason for a warning: the reader's own font will have it."""
    if _drawable(figure):
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        yield


def _drawable(figure: Figure) -> bool:
    from matplotlib.font_manager import FontProperties, findfont, get_font  # noqa: PLC0415 - heavy
    from matplotlib.text import Text  # noqa: PLC0415 - heavy

    texts: Iterable[Text] = figure.findobj(Text)
    letters = {ord(letter) for text in texts for letter in text.get_text()} - {ord("\n")}
    return letters <= get_font(findfont(FontProperties())).get_charmap().keys()
