"""A simulated server in a process of its own."""

import subprocess
from contextlib import contextmanager

import pytest

from fmbench.simulator import ServerOptions, read_truth
from fmbench.simulator.child import command


class Running:
    """A server that is up."""

    def __init__(self, process, url, log):
        self.process, self.url, self.log = process, url, log

    def end(self):
        """End it; its truth."""
        self.process.terminate()
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return read_truth(self.log)


@pytest.fixture
def serving(tmp_path):
    @contextmanager
    def serving(**options):
        log = tmp_path / "truth.jsonl"
        process = subprocess.Popen(
            command(ServerOptions(log=log, **options)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            yield Running(process, process.stdout.readline().strip(), log)
        finally:
            process.kill()
            process.communicate()

    return serving
