"""What a run created, what of it still stands, and how it is deleted, whatever becomes of the run.

``log`` is the journal itself, ``process`` tells whether the process of a run is still there, ``identity`` names a deployer so
that another process finds it again, ``state`` is the user's list of folders with something in them, ``sitting`` is what one
process writes down, ``deleting`` deletes, ``watchdog`` is the second process, and ``cleanup`` what ``fmbench cleanup`` does.
"""

from __future__ import annotations

from fmbench.journal.deleting import Left, delete_all
from fmbench.journal.identity import can_delete, identify, is_reviving, revive
from fmbench.journal.log import Journal, spent_usd
from fmbench.journal.sitting import Entries, Sitting
from fmbench.journal.tags import tags_of

__all__ = [
    "Entries",
    "Journal",
    "Left",
    "Sitting",
    "can_delete",
    "delete_all",
    "identify",
    "is_reviving",
    "revive",
    "spent_usd",
    "tags_of",
]
