"""This machine's error budget: reported minus true, against a server that logs what it did.

``measuring`` runs, ``errors`` compares records with the truth, ``budget`` judges, ``page`` (with ``charts``) shows it.
"""

from __future__ import annotations

from fmbench.calibration.budget import Budget, Verdict
from fmbench.calibration.errors import Level, Spread
from fmbench.calibration.measuring import Calibration, Capacity, calibrate

__all__ = ["Budget", "Calibration", "Capacity", "Level", "Spread", "Verdict", "calibrate"]
