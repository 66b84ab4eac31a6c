"""A cloud of paper: what exists is a file, with its tags in it; making and deleting take time, and may go wrong."""

import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from fmbench import Benchmark, Concurrency, Endpoint, Prompt
from fmbench.testing import Echo

RATE = 7.09


@dataclass(frozen=True)
class Paper:
    """Makes a model, then an endpoint; deletes the endpoint, waits until it is gone, then the model."""

    name: str
    cloud: Path
    seconds: float = 0.05
    fault: str = ""
    keep: bool = False
    password: str = "hunter2"

    def describe(self):
        return {"usd_per_hour": RATE}

    @asynccontextmanager
    async def deploy(self, run):
        made = []
        try:
            for kind, rate in (("model", 0), ("endpoint", RATE)):
                handle = {"cloud": str(self.cloud), "name": f"{self.name}-{run.tags['fmbench:run']}-{kind}"}
                run.creating(handle, rate, keep=self.keep)
                made.append(handle)
                await self._create(handle, run.tags)
            await anyio.sleep(self.seconds)
            yield Endpoint(name=self.name, url="in://process", facts=self.describe())
        finally:
            if not self.keep and self.fault != "forgets":
                async with run.undoing():
                    for handle in reversed(made):
                        await self._until_gone(handle)
                        run.deleted(handle)

    async def _create(self, handle, tags):
        await anyio.sleep(self.seconds)
        kept = {"fmbench:keep": "true"} if self.keep else {}
        path = self.cloud / handle["name"]
        path.with_suffix(".fresh").write_text(json.dumps({"tags": {**tags, **kept}}), encoding="utf-8")
        path.with_suffix(".fresh").rename(path)
        await anyio.sleep(self.seconds)

    async def _until_gone(self, handle):
        while not await self.delete(handle):  # noqa: ASYNC110 - a cloud has to be asked
            await anyio.sleep(self.seconds)

    async def delete(self, handle):
        path = Path(handle["cloud"]) / handle["name"]
        if (path.parent / "stuck").exists():
            raise RuntimeError("the cloud is stuck")
        going = path.with_suffix(".deleting")
        if path.exists():
            path.rename(going)
            return False
        await anyio.sleep(0.02)
        going.unlink(missing_ok=True)
        return True

    @classmethod
    async def find(cls, tags):
        from fmbench import Found

        cloud, found = Path(os.environ["PAPER_CLOUD"]), []
        for name in there(cloud):
            path = cloud / name
            if not path.is_file() or name == "stuck" or path.suffix == ".deleting":
                continue
            has = json.loads(path.read_text(encoding="utf-8"))["tags"]
            if all(has.get(tag) is not None and value in {None, has[tag]} for tag, value in tags.items()):
                found.append(Found(handle={"cloud": str(cloud), "name": name}, tags=has, usd_per_hour=RATE))
        return found


def there(cloud):
    """What exists, apart from what is somebody else's."""
    return sorted(path.name for path in cloud.iterdir() if path.suffix != ".fresh" and not path.name.startswith("theirs"))


def made(cloud):
    """A new cloud with a thing in it that is not ours."""
    cloud.mkdir()
    (cloud / "theirs").write_text(json.dumps({"tags": {"team": "search"}}), encoding="utf-8")
    return cloud


def benchmark(cloud, *, seconds=1.0, fault="", keep=False, pace=0.05, **more):
    papers = [Paper(name, cloud, pace, fault=fault, keep=keep) for name in ("one", "two")]
    prompts = [Prompt(id=str(n), text=f"prompt {n}") for n in range(20)]
    return Benchmark(deployers=papers, prompts=prompts, loads=Concurrency(1, seconds=seconds), invoker=Echo(), warmup=0, **more)


def start(directory, cloud, **more):
    """A run as a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, str(directory), str(cloud), json.dumps(more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)
    return found


def watchdogs(directory, *, within=False):
    """Their process numbers, from the system's list."""
    listing = subprocess.run(["ps", "-ww", "-e", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [
        int(line.split()[0])
        for line in listing.splitlines()
        if f"watchdog.py {directory.absolute()}{'/' if within else ' '}" in line
    ]


if __name__ == "__main__":
    from fmbench.benchmark import undoing
    from fmbench.cli.running import run_benchmark

    directory, cloud, more = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    undoing.LEFTOVER_SECONDS = more.pop("patience", 30.0)
    sys.exit(run_benchmark(benchmark(cloud, **more), directory, as_json=False))
