"""How fast prompts are read and counted, and what memory that takes.

    python benchmarks/counting.py TOKENIZER [--prompts 100000] [--words 75]

``TOKENIZER`` is a folder with a ``tokenizer.json``. Prompts are passages of the standard library's documentation, each with a
number of its own. It prints tokens a second of processor time, which is what one core counts, and the peak memory of the
process that draws them, and ends with status 1 where that is below 0.5 million, or above 300 MB for 100,000 prompts.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

import orjson

LEAST_A_SECOND = 500_000
MOST_MEGABYTES = 300


def main() -> int:
    """Measure and print, the measuring in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=75)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows is not None:
        measured(options.rows, options.tokenizer)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        write(rows, options.prompts, options.words)
        command = [sys.executable, __file__, str(options.tokenizer), "--rows", str(rows)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count, tokens, seconds, wall, megabytes = (float(word) for word in told.split())
    print(f"{count:,.0f} prompts, {tokens:,.0f} tokens in {wall:.1f} s, {seconds:.1f} s of processor time")
    print(f"{tokens / seconds:,.0f} tokens a second and core; peak memory {megabytes:.0f} MB")
    return 0 if tokens / seconds >= LEAST_A_SECOND and megabytes <= MOST_MEGABYTES * max(1.0, count / 1e5) else 1


def write(path: Path, prompts: int, words: int) -> None:
    """Rows with passages of so many words."""
    text = " ".join(topic for _, topic in sorted(topics.items())).split(" ")
    with path.open("wb") as file:
        for number in range(prompts):
            start = number * 31 % (len(text) - words)
            file.write(orjson.dumps({"prompt": f"{number} {' '.join(text[start : start + words])}"}) + b"\n")


def measured(rows: Path, tokenizer: Path) -> None:
    """Draw the prompts of ``rows`` and say how many they are, their tokens, the time, and the peak of memory."""
    from fmbench.prompts import Dataset  # noqa: PLC0415 - only in the process that is measured

    wall, cpu = time.perf_counter(), time.process_time()
    prompts = list(Dataset(rows, tokenizer=tokenizer))
    spent = time.process_time() - cpu, time.perf_counter() - wall
    # Not getrusage: its peak is inherited from the process that started this one.
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    print(len(prompts), sum(prompt.tokens or 0 for prompt in prompts), *spent, int(peak[1]) / 1024 if peak else 0.0)


if __name__ == "__main__":
    sys.exit(main())
