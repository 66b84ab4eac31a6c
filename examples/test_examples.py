"""Every example runs, as its reader would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

HERE = Path(__file__).parent
SCRIPTS = sorted(path for path in HERE.glob("*.py") if path.name != Path(__file__).name)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script(script: Path, tmp_path: Path) -> None:
    """A script ends well and says something."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_notebook(tmp_path: Path) -> None:
    """The notebook runs from top to bottom, inside its running loop."""
    notebook: nbformat.NotebookNode = nbformat.read(  # type: ignore[no-untyped-call]  # it ships no types
        HERE / "notebook.ipynb", as_version=4
    )
    os.environ["FMBENCH_EXAMPLE_FOLDER"] = str(tmp_path / "run")
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("text/html" in output.get("data", {}) for output in shown)
