"""The rooms of numbers import only what stands below them, whether at the top, in a function or for types."""

import ast
from pathlib import Path

import pytest

import fmbench.result

BELOW = {
    "metrics": {"errors", "types"},
    "validity": {"errors", "types", "metrics"},
    "advice": {"errors", "types", "metrics"},
    "result": {"errors", "types", "plugins", "metrics", "recording", "validity", "advice"},
}


def rooms_imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""] if node.module != "fmbench" else [f"fmbench.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("fmbench."))


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_what_stands_below_it(room):
    paths = sorted((Path(fmbench.result.__file__).parents[1] / room).glob("*.py"))
    assert paths
    for path in paths:
        above = set(rooms_imported(ast.parse(path.read_text(encoding="utf-8")))) - BELOW[room] - {room}
        assert not above, f"{path.name} imports {above}"


@pytest.mark.parametrize("room", ["metrics", "validity", "advice"])
def test_the_pure_rooms_touch_no_file_clock_or_environment(room):
    for path in (Path(fmbench.result.__file__).parents[1] / room).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert not imported & {"os", "pathlib", "time", "datetime", "random", "socket", "threading", "subprocess", "logging"}
        assert not called & {"open", "print", "input", "exec", "eval"}
