"""Where engines run when one process is not enough: in processes of their own, each with a share of one plan.

``shipping`` packs what goes to them, ``child`` is what such a process does, ``team`` starts, leads and ends them, ``lost``
accounts for what a worker that died leaves behind, and ``seat`` is what every engine has around it, in this process too.
"""

from __future__ import annotations

from fmbench.workers.lost import dealt
from fmbench.workers.seat import encoded, observed, payload_line
from fmbench.workers.shipping import Job, inside_a_worker, packed
from fmbench.workers.team import Measured, Team

__all__ = ["Job", "Measured", "Team", "dealt", "encoded", "inside_a_worker", "observed", "packed", "payload_line"]
