"""The answer for several rates: how many instances of what, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from fmbench.advice.choosing import Candidate

if TYPE_CHECKING:
    from fmbench.advice.advice import Advice

__all__ = ["AdviceTable"]


@dataclass(frozen=True, slots=True)
class AdviceTable:
    """Advice for each of several rates.

    Args:
        advices: One a rate, in the order in which rates were given; at least one.
    """

    advices: tuple[Advice, ...]

    @property
    def rates(self) -> tuple[float, ...]:
        """The requests a minute."""
        return tuple(advice.requests_per_minute or 0.0 for advice in self.advices)

    def __len__(self) -> int:
        return len(self.advices)

    def __iter__(self) -> Iterator[Advice]:
        return iter(self.advices)

    @property
    def sentence(self) -> str:
        """Which candidate is the best at which rates."""
        first = self.advices[0]
        if first.best is None:
            return first.sentence
        runs: list[tuple[str, list[Advice]]] = []
        for advice in self.advices:
            name = "" if advice.best is None else _name(advice.best)
            if runs and runs[-1][0] == name:
                runs[-1][1].append(advice)
            else:
                runs.append((name, [advice]))
        cheapest = "the cheapest" if first.best.usd_per_hour is not None else "the fewest instances"
        told = "; ".join(f"{_range(some)} requests a minute {_instances(some)}" for _, some in runs)
        return f"{'Simulated: ' if first.simulated else ''}Within {first.slo}, {cheapest} for {told}."

    def candidates(self) -> list[tuple[Candidate, ...]]:
        """Each candidate at every rate, in the order of the first rate's advice."""
        order = [(one.prompts, one.deployment, str(one.parameters)) for one in self.advices[0].candidates]
        found = [
            {(one.prompts, one.deployment, str(one.parameters)): one for one in advice.candidates} for advice in self.advices
        ]
        return [tuple(each[key] for each in found) for key in order]

    def table(self) -> list[Sequence[str]]:
        """The header, and a row a candidate: instances and USD an hour for each rate; an asterisk marks the best of a rate."""
        several = len({one.prompts for one in self.advices[0].candidates}) > 1
        header = [
            "deployment",
            *(["prompts"] if several else []),
            "requests/min each",
            *(f"{rate:g}/min" for rate in self.rates),
        ]
        rows = []
        for same in self.candidates():
            one = same[0]
            each = "-" if one.requests_per_minute is None else f"{one.requests_per_minute:.4g}"
            cells = [_cell(at, advice) for at, advice in zip(same, self.advices, strict=True)]
            rows.append([one.deployment, *([one.prompts] if several else []), each, *cells])
        return [header, *rows]

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "slo": self.advices[0].slo.as_dict(),
            "sentence": self.sentence,
            "requests_per_minute": list(self.rates),
            "advice": [advice.as_dict() for advice in self.advices],
        }

    def __str__(self) -> str:
        rows = self.table()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        remarks = [f"- {told}" for told in self.advices[0].remarks]
        return "\n".join([self.sentence, "", lines[0], rule, *lines[1:], *(["", *remarks] if remarks else [])])

    def _repr_html_(self) -> str:
        header, *rows = self.table()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"<p>{escape(self.sentence)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _name(one: Candidate) -> str:
    return f"{one.deployment} {one.prompts} {one.parameters}"


def _range(some: Sequence[Advice]) -> str:
    rates = [advice.requests_per_minute or 0.0 for advice in some]
    low, high = min(rates), max(rates)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _instances(some: Sequence[Advice]) -> str:
    best = [advice.best for advice in some if advice.best is not None]
    if not best:
        return "are not served by anything that was measured"
    counts = [one.instances for one in best if one.instances is not None]
    if not counts:
        return f"is {best[0].deployment}"
    low, high = min(counts), max(counts)
    count = f"{low}" if low == high else f"{low} to {high}"
    return f"is {count} x {best[0].instance_type or best[0].deployment}"


def _cell(one: Candidate, advice: Advice) -> str:
    if one.standing != "met":
        return {"missed": "misses the SLO", "unknown": "not known"}.get(one.standing, "not measured")
    best = "*" if one is advice.best_for(one.prompts) else ""
    price = "" if one.usd_per_hour is None else f" ({one.usd_per_hour:,.2f} USD/h)"
    return "-" if one.instances is None else f"{one.instances}{price}{best}"
