"""Inside a program of your own: awaited beside other work, watched, and cancelled with its task.

Usage: python embed.py FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from fmbench import Benchmark, Concurrency, Progress, Prompt, Result
from fmbench.testing import InProcess


def benchmark(requests: int) -> Benchmark:
    """A benchmark of so many requests."""
    prompts = [Prompt(id=f"p{number}", text="one two three four") for number in range(requests)]
    return Benchmark(deployers=InProcess(), prompts=prompts, loads=Concurrency(4, requests=requests))


async def main(folder: Path) -> None:
    """Run two at once, then cancel a third."""
    first, second = await asyncio.gather(benchmark(40).run_async(folder / "first"), benchmark(40).run_async(folder / "second"))
    print(first.experiments[0].tps, second.experiments[0].tps)

    news: list[Progress] = []
    task = asyncio.create_task(benchmark(100_000).run_async(folder / "third", on_progress=news.append))
    while not any(one.event == "progress" for one in news):  # noqa: ASYNC110 - the news come from another thread
        await asyncio.sleep(0.05)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        state = Result.load(folder / "third").state
        print(f"the third was {state} after {news[-1].event}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
