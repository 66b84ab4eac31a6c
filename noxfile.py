"""Every check a change must pass. ``nox`` runs them all; ``nox -s tests`` one of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "docs", "bare", "examples", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")


def group(name: str) -> list[str]:
    """The requirements of one of the project's dependency groups."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install_wheel(session: nox.Session, extras: str = "") -> None:
    """Build the wheel and install it: what is tested is what users get."""
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ".")
        [wheel] = Path(folder).glob("*.whl")
        session.install("--force-reinstall", "--no-deps", str(wheel))
        session.install(f"{wheel}{extras}")


@nox.session
def lint(session: nox.Session) -> None:
    """The linter and the formatter."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, and pyright, which also asks whether every type that a user can see is complete."""
    session.install("-e", ".[local]", *group("types"), *group("examples"))
    session.install("./examples/stranger")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "fmbench", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, where a broken link is an error. That its tables are the code's and its examples run, `tests` asks."""
    session.install(*group("docs"))
    session.run("mkdocs", "build", "--strict", "--quiet")


@nox.session
def bare(session: nox.Session) -> None:
    """The wheel without extras: it imports, it measures, and what needs an extra says which."""
    install_wheel(session)
    session.run("python", "tests/bare.py")


@nox.session
def examples(session: nox.Session) -> None:
    """Every example runs: the scripts, the notebook, and the stranger's package with its own tests."""
    install_wheel(session, "[local,aws]")
    session.install(*group("examples"), "./examples/stranger")
    session.run("python", "-m", "pytest", "-q", "examples", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, on the built wheel with every extra, so that a library that should not be loaded is there to be loaded."""
    install_wheel(session, "[all]")
    session.install(*group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """The readers, guided by coverage, for as long as ``--seconds`` says. See tests/fuzz/README.md."""
    session.install("-e", ".", *group("fuzz"))
    session.run("python", "tests/fuzz/run.py", *session.posargs)


@nox.session(default=False)
def jumpstart(session: nox.Session) -> None:
    """Our plans for JumpStart's models beside what the ``sagemaker`` SDK itself sends. Takes 300 MB."""
    session.install("-e", ".[aws]", "sagemaker==2.257.7")
    session.run("python", "tests/sdk/jumpstart_plans.py", *session.posargs)


@nox.session(default=False)
def kills(session: nox.Session) -> None:
    """SIGKILL at twenty random moments, for each of the ways in which what is left is deleted; about six minutes."""
    install_wheel(session, "[aws]")
    session.install(*group("test"))
    session.run("python", "-m", "pytest", "-s", "tests/money", *session.posargs, env={"FMBENCH_KILLS": "20"})


@nox.session(default=False)
def performance(session: nox.Session) -> None:
    """What the instrument must reach, measured beside a named peer: the table of docs/instrument.md. Needs a C compiler."""
    install_wheel(session)
    session.install(*group("performance"))
    session.run("python", "benchmarks/performance.py", *session.posargs)


@nox.session(default=False)
def transformers(session: nox.Session) -> None:
    """A second real engine: ``transformers serve`` with the same small model, beside llama.cpp. Takes a gigabyte."""
    session.install("torch==2.13.0")  # first, so that nothing else chooses a build of it
    session.install("-e", ".[local]", "transformers[serving]==5.23.0")
    session.run("python", "benchmarks/two_engines.py", *session.posargs)
