"""Charts: each chart as a file, and its numbers beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from fmbench import checked
from fmbench.reporters.charts import charts_of
from fmbench.reporters.charts.ink import rendered, settings

if TYPE_CHECKING:
    from fmbench import Result

__all__ = ["Charts"]


@checked
@dataclass(frozen=True)
class Charts:
    """Writes ``charts/NAME.svg`` (or ``.png``) and, beside it, ``charts/NAME.csv`` with the numbers that it shows.

    A chart for which there are no numbers (TTFT of unstreamed replies) is left out.

    Args:
        form: ``svg``, in which more than 2,000 points of a panel are an image, or ``png``.
        bin_tokens: The width of the bins of prompt lengths; chosen by the lengths unless given.
    """

    form: Literal["svg", "png"] = "svg"
    bin_tokens: PositiveInt | None = None

    def report(self, result: Result, directory: Path) -> list[Path]:
        folder = directory / "charts"
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for chart in charts_of(result, bin_tokens=self.bin_tokens):
            if not chart.panels:
                continue
            picture, numbers = folder / f"{chart.name}.{self.form}", folder / f"{chart.name}.csv"
            with settings():
                picture.write_bytes(rendered(chart.figure(), self.form))
            chart.numbers.to_csv(numbers, index=False, lineterminator="\n")
            written += [picture, numbers]
        return written
