"""The public face is what it says, and importing it is quick, quiet and light."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fmbench

HEAVY = ("boto3", "botocore", "sagemaker", "transformers", "torch", "pandas", "pyarrow", "matplotlib", "xllamacpp")
ROOMS = {
    "advice",
    "benchmark",
    "config",
    "engine",
    "errors",
    "interfaces",
    "journal",
    "load",
    "metrics",
    "options",
    "plugins",
    "pricing",
    "recording",
    "result",
}
ROOMS |= {
    "workers",
    "types",
    "validity",
    "wire",
    "invokers",
    "prompts",
    "reporters",
    "simulator",
    "deployers",
    "testing",
    "calibration",
    "cli",
}


def test_all_is_what_is_there():
    visible = {name for name in vars(fmbench) if not name.startswith("_")} - ROOMS - {"annotations"}
    assert visible == set(fmbench.__all__)


def test_everything_public_is_documented():
    assert [name for name in fmbench.__all__ if not (getattr(fmbench, name).__doc__ or "").strip()] == []


PROBE = """
import importlib, json, os, sys, threading

reads, sockets, tried = [], [], []


class Watched(type(os.environ)):
    # Whoever asks, through get or getenv too: the nearest caller with a file of ours. An import of somebody else's module
    # ends the search: what that module reads is its own affair.
    def __getitem__(self, key):
        frame = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
            if frame.f_code.co_filename.startswith(OURS):
                reads.append(str(key))
                break
            frame = frame.f_back
        return super().__getitem__(key)


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in HEAVY:
            tried.append(name)


os.environ.__class__ = Watched
sys.meta_path.insert(0, Finder)
sys.addaudithook(lambda event, _: sockets.append(event) if event.startswith("socket.") else None)
before = threading.active_count()
importlib.import_module(MODULE)
print(json.dumps({"heavy": tried, "threads": threading.active_count() - before, "sockets": sockets, "reads": reads}))
"""
LOUD = """
import os, socket, threading
from pathlib import Path

try:
    import boto3
except ImportError:
    pass
import pandas
os.environ["HOME"], os.environ.get("USER"), os.getenv("SHELL"), Path.home()
threading.Thread(target=threading.Event().wait, daemon=True).start()
socket.socket().close()
"""


def probed(module, ours, folder):
    """What importing a module in a fresh process did."""
    script = f"MODULE, OURS, HEAVY = {module!r}, {str(ours)!r}, {HEAVY!r}\n{PROBE}"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_importing_is_quick_quiet_and_light(tmp_path):
    quiet = {"heavy": [], "threads": 0, "sockets": [], "reads": []}
    assert probed("fmbench", Path(fmbench.__file__).parent, tmp_path) == quiet


def test_the_probe_hears_what_is_loud(tmp_path):
    (tmp_path / "loud.py").write_text(LOUD, encoding="utf-8")
    heard = probed("loud", tmp_path, tmp_path)
    assert {"boto3", "pandas"} <= set(heard["heavy"])
    assert heard["threads"] == 1
    assert "socket.__new__" in heard["sockets"]
    assert {"HOME", "USER", "SHELL"} <= set(heard["reads"])


@pytest.mark.parametrize(
    "room", ["invokers", "prompts", "reporters", "simulator", "deployers", "testing", "calibration", "cli"]
)
def test_rooms_above_the_face_are_as_light(room, tmp_path):
    heard = probed(f"fmbench.{room}", Path(fmbench.__file__).parent, tmp_path)
    assert heard["heavy"] == heard["sockets"] == []  # pydantic reads the environment as it makes their classes


def test_the_check_for_heavy_modules_is_not_vacuous():
    import importlib.util

    assert [name for name in ("pandas", "pyarrow", "matplotlib") if importlib.util.find_spec(name) is None] == []
