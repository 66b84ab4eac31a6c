"""Fuzz the readers, guided by coverage: ``python tests/fuzz/run.py --seconds 300``. See the README beside it."""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    "events",
    "completion_events",
    "completion_whole",
    "event_stream",
    "event_stream_headers",
    "http",
    "connection",
    "tls_records",
    "request",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--seconds", type=int, default=300, help="for all targets together")
    parser.add_argument("--target", action="append", choices=NAMES, help="only this one; may be given again")
    parser.add_argument("--corpus", type=Path, help="a folder to keep what was reached in, and to begin with the next time")
    parser.add_argument("--fuzz", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fuzz:
        fuzz(asked.fuzz[0], asked.fuzz[1:])
    try:
        import atheris  # noqa: F401
    except ImportError:
        sys.exit("the fuzzer is not installed: pip install atheris")
    names = asked.target or NAMES
    with tempfile.TemporaryDirectory() as folder:
        corpus = asked.corpus or Path(folder)
        sys.exit(max([spawned(name, corpus / name, max(1, asked.seconds // len(names))) for name in names]))


def spawned(name, corpus, seconds):
    """One target in a process of its own; what it reached is printed, what it found is written to ``found/``."""
    corpus.mkdir(parents=True, exist_ok=True)
    found = HERE / "found" / name
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", f"-artifact_prefix={found}/", "-verbosity=1"]
    found.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        [sys.executable, __file__, "--fuzz", name, *options, str(corpus)], capture_output=True, text=True, check=False
    )
    print(told(name, ended), flush=True)
    if not any(found.iterdir()):
        found.rmdir()
    return int(ended.returncode != 0)


def told(name, ended):
    done = re.search(r"Done (\d+) runs in (\d+) second", ended.stderr)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", ended.stderr)
    coverage = f", {reached[-1][0]} branches, {reached[-1][1]} features" if reached else ""
    if done is None:
        return f"{name}: FAILED{coverage}\n{ended.stdout}{ended.stderr[-3000:]}"
    return f"{name}: {int(done[1]):,} executions in {done[2]} s{coverage}; nothing found"


def fuzz(name, options):
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=["fmbench", "targets"]):
        import targets
    corpus = Path(options[-1])
    for number, seed in enumerate(targets.SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([name, *options], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
