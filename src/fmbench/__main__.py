"""``python -m fmbench`` is the command line."""

from __future__ import annotations

from fmbench.cli import main

if __name__ == "__main__":
    main()
