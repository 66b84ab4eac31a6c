"""What the documentation shows works: its Python runs, its YAML loads, its tables are the code's."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fmbench import load_config

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["tutorial.md", "adapters.md"])
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    if page == "tutorial.md":
        pytest.importorskip("xllamacpp", reason="the local extra is not installed")
    written = blocks(DOCS / page, "python")
    assert len(written) > 4
    (tmp_path / "page.py").write_text("\n".join(written), encoding="utf-8")
    command = [sys.executable, "-W", "error", "page.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    if page == "tutorial.md":
        assert re.search(r"^None p99 needs 662 requests", done.stdout, re.MULTILINE), done.stdout
        assert "warn | shared_host" in done.stdout


def test_the_readmes_python_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [script, others] = blocks(ROOT / "README.md", "python")
    asking, ran, _ = script.partition("result = benchmark.run(")
    assert ran
    names = {}
    exec(asking, names)
    assert len(names["benchmark"].plan().rows) == 3
    exec(others, names)
    assert [type(one).__name__ for one in names["deployers"]] == ["JumpStart", "JumpStart"]


@pytest.mark.parametrize("text", blocks(DOCS / "configuration.md", "yaml"))
def test_the_yaml_is_accepted(text, tmp_path):
    (tmp_path / "c.yml").write_text(text, encoding="utf-8")
    assert len(load_config(tmp_path / "c.yml").plan().rows) == 6


def test_every_key_of_a_configuration_is_told():
    import inspect

    from fmbench import Benchmark

    table = (DOCS / "configuration.md").read_text(encoding="utf-8").partition("## All keys")[2]
    assert [key for key in inspect.signature(Benchmark).parameters if f"`{key}`" not in table] == []


def test_every_column_of_the_records_is_told():
    from fmbench import Record

    page = (DOCS / "files.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", page)) | {"prompt_tokens_source", "completion_tokens_source"}
    assert set(Record._fields) - named == set()


def test_tables_are_the_codes():
    done = subprocess.run(
        [sys.executable, str(DOCS / "make_tables.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, textwrap.indent(done.stdout + done.stderr, "  ")
