"""Imports run one way, adapters stand above the face, and rooms stay small enough to read."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "fmbench"
LAYERS = [
    ["errors"],
    ["types"],
    ["options", "plugins", "load", "metrics", "pricing", "recording", "journal", "wire"],
    ["validity", "advice"],
    ["result"],
    ["interfaces"],
    ["engine"],
    ["workers"],
    ["benchmark"],
    ["config"],
    ["__init__"],
    ["invokers", "prompts", "reporters", "simulator"],
    ["deployers", "testing"],
    ["calibration"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms}
ADAPTERS = ("invokers", "prompts", "reporters", "simulator", "deployers")
FILES = sorted(SOURCE.rglob("*.py"))
# interfaces names Result for type checkers, and result stands below it; nothing else needs leave.


def room_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(tree):
    """Every room of ours that a file imports, in functions and for type checkers too, with the names it takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                ((*alias.name.split("."), "__init__")[1], ()) for alias in node.names if alias.name.split(".")[0] == "fmbench"
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fmbench":
            parts = node.module.split(".")
            names = tuple(alias.name for alias in node.names)
            if len(parts) > 1:
                yield parts[1], names
            else:
                rooms = [name for name in names if name in FLOOR]
                yield from ((room, ()) for room in rooms)
                if len(rooms) < len(names):
                    yield "__init__", tuple(name for name in names if name not in FLOOR)


def functions():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    here = room_of(path)
    for room, _ in imported(ast.parse(path.read_text(encoding="utf-8"))):
        assert FLOOR[room] <= FLOOR[here], f"{here} imports {room}, which stands above it"
        assert room == here or FLOOR[room] < FLOOR[here] or room in LAYERS[2] or {here, room} <= {"advice", "validity"}, (
            f"{here} ~ {room}"
        )


@pytest.mark.parametrize(
    "path", [path for path in FILES if room_of(path) in ADAPTERS], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_adapters_use_what_strangers_may_use(path):
    here = room_of(path)
    for room, names in imported(ast.parse(path.read_text(encoding="utf-8"))):
        assert room in {"__init__", "wire", "testing", here, *ADAPTERS}, f"an adapter imports fmbench.{room}"
        assert not [name for name in names if name.startswith("_")]


def test_every_room_is_on_the_map():
    assert {room_of(path) for path in FILES} == set(FLOOR)


def test_the_map_in_the_documentation_is_this_one():
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = page.partition("```text\n")[2].partition("```")[0].splitlines()
    told = [["__init__"] if row.startswith("fmbench (") else re.split(r" {3,}", row)[0].split() for row in rows]
    assert told == LAYERS[:-1]  # __main__ only calls the command line


def test_imports_are_written_out():
    """One with dots in front would pass by the tests above."""
    assert [
        f"{path.name}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ] == []


def test_no_file_names_somebodys_machine():
    home = re.compile(r"(?<![\w.])/(?:home|Users|root|work|farm)/\w")
    root = SOURCE.parents[1]
    texts = [path for top in ("src", "tests", "docs", "examples", "benchmarks", ".ci") for path in (root / top).rglob("*")]
    texts += [root / name for name in ("README.md", "CHANGELOG.md", "noxfile.py", "pyproject.toml", "mkdocs.yml")]
    named = [
        f"{path.relative_to(root)}:{number}"
        for path in texts
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ".c", ""}
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if home.search(line)
    ]
    assert named == []


def test_functions_and_modules_stay_readable():
    long = [
        f"{path.name}:{node.name} {node.end_lineno - node.lineno + 1}"
        for path, node in functions()
        if node.end_lineno - node.lineno >= 40
    ]
    # A record has a line for each of its columns, and an entry point a paragraph for each of its parameters.
    assert [entry for entry in long if entry.split(":")[1].split()[0] not in {"record_of", "__init__"}] == []
    assert [path.name for path in FILES if path.read_text(encoding="utf-8").count("\n") > 400] == []


def test_no_name_is_vague():
    vague = re.compile(r"(^|_)(utils?|common|helpers?|misc|manager|base|core|stuff)(_|$)")
    assert [
        path for path in FILES if any(vague.search(part.removesuffix(".py")) for part in path.relative_to(SOURCE).parts)
    ] == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if room_of(path) in ADAPTERS], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_options_that_pydantic_checks_are_told_in_one_line(path):
    """``@checked`` stands above pydantic's ``@dataclass``, so that a mistake is a ConfigError."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not any(isinstance(node, ast.ImportFrom) and node.module == "pydantic.dataclasses" for node in tree.body):
        return
    for node in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        names = [ast.unparse(one).partition("(")[0] for one in node.decorator_list]
        assert "dataclass" not in names or names[-2:] == ["checked", "dataclass"], node.name
