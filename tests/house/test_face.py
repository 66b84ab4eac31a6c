"""The public face is what it says, and importing it is quick, quiet and light."""

import json
import subprocess
import sys
import textwrap

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
    "plugins",
    "recording",
    "result",
}
ROOMS |= {"types", "validity", "wire", "invokers", "prompts", "reporters", "deployers", "testing", "cli"}


def test_all_is_what_is_there():
    visible = {name for name in vars(fmbench) if not name.startswith("_")} - ROOMS - {"annotations"}
    assert visible == set(fmbench.__all__)


def test_everything_public_is_documented():
    assert [name for name in fmbench.__all__ if not (getattr(fmbench, name).__doc__ or "").strip()] == []


def test_importing_is_quick_quiet_and_light():
    script = textwrap.dedent(f"""
        import json, os, sys, threading
        reads, sockets = [], []
        class Watched(type(os.environ)):
            def __getitem__(self, key):
                frame = sys._getframe(1)
                while frame is not None:
                    if "fmbench" in frame.f_code.co_filename.replace(os.sep, "/").split("/"):
                        reads.append(key)
                        break
                    if "importlib" in frame.f_code.co_filename or frame.f_code.co_filename.startswith("<frozen"):
                        break
                    frame = frame.f_back
                return super().__getitem__(key)
        os.environ.__class__ = Watched
        sys.addaudithook(lambda event, _: sockets.append(event) if event.startswith("socket.") else None)
        before = threading.active_count()
        import fmbench
        print(json.dumps({{
            "heavy": [name for name in {HEAVY!r} if name in sys.modules],
            "threads": threading.active_count() - before, "sockets": sockets, "reads": reads,
        }}))
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"heavy": [], "threads": 0, "sockets": [], "reads": []}
    assert done.stderr == ""


def test_the_check_for_heavy_modules_is_not_vacuous():
    import importlib.util

    assert [name for name in ("pandas", "pyarrow", "matplotlib") if importlib.util.find_spec(name) is None] == []
