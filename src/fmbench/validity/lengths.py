"""Checks of the replies' lengths: as long as asked for?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fmbench.validity.check import Check
from fmbench.validity.subject import Subject, check

__all__ = ["fills_replies", "output_length"]

SHORT = 0.9
"""The mean length of the replies, as a share of the length asked for, below which they count as short."""

_LEAST = ("min_tokens", "min_new_tokens")
_MOST = ("max_tokens", "max_completion_tokens", "max_new_tokens", "n_predict")


def fills_replies(payload: Any) -> bool:
    """Whether a request tells the server not to end its reply before the length asked for.

    Args:
        payload: The request as ``payload.jsonl`` holds it, of whatever protocol.
    """
    told = dict(_members(payload))
    least = [told[name] for name in _LEAST if isinstance(told.get(name), int)]
    most = [told[name] for name in _MOST if isinstance(told.get(name), int)]
    return told.get("ignore_eos") is True or bool(least and most and min(least) >= max(most))


def _members(payload: Any) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object and of those in it; prompts stand in lists, and are not looked into."""
    if isinstance(payload, Mapping):
        for name, value in payload.items():
            yield name, value
            yield from _members(value)


def output_length(subject: Subject) -> Check | None:
    """Were the replies as long as asked for?"""
    sample = subject.sample
    asked, got = sample.numbers("max_new_tokens")[sample.counted], sample.numbers("completion_tokens")[sample.counted]
    if subject.max_new_tokens is not None:
        asked = np.where(np.isnan(asked), subject.max_new_tokens, asked)
    known = ~np.isnan(asked) & ~np.isnan(got)
    if not known.any():
        return None
    asked, got = asked[known], got[known]
    ratio, longer, shorter = float(got.sum() / asked.sum()), float((got > asked).mean()), float((got < asked).mean())
    many = f"{asked.min():.0f}" if asked.min() == asked.max() else f"{asked.min():.0f} to {asked.max():.0f}"
    finding = (
        f"the replies had {got.mean():.4g} tokens on average, {got.min():.0f} to {got.max():.0f}, of {many} asked for; "
        f"{longer:.0%} were longer, {shorter:.0%} shorter"
    )
    if subject.exact_length:
        finding += ", although the server was told to fill each reply"
    remedy = "longer or shorter replies are slower or faster ones: compare only endpoints whose replies are alike in length"
    kept = not longer and (not shorter if subject.exact_length else ratio >= SHORT)
    return check("output_length", "pass" if kept else "warn", finding, ratio, SHORT, remedy)
