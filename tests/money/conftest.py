"""The cloud of paper, registered as a stranger's deployer would be, and a list of standing things of the test's own."""

import os
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def paper(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PAPER_CLOUD", str(tmp_path / "cloud"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)  # nobody's real account is looked at, or cleaned
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    told = tmp_path / "installed" / "paper-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: paper\nVersion: 1.0\n", encoding="utf-8")
    (told / "entry_points.txt").write_text("[fmbench.deployers]\npaper = paper_cloud:Paper\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(told.parent), str(HERE)]))
    monkeypatch.syspath_prepend(str(HERE))
    import paper_cloud

    yield paper_cloud
    for number in paper_cloud.watchdogs(tmp_path, within=True):  # where a test fails, they would try for a day
        os.kill(number, signal.SIGKILL)
    sys.modules.pop("paper_cloud")
