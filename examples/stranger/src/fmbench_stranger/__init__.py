"""Four adapters that fmbench has never heard of; they use its public face and nothing else."""

from __future__ import annotations

from fmbench_stranger.letterbox import Letterbox
from fmbench_stranger.line import Line
from fmbench_stranger.others import Alphabet, Postcard

__all__ = ["Alphabet", "Letterbox", "Line", "Postcard"]
