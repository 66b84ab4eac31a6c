"""For all tests: what fmbench notes for the user goes to a folder that is thrown away."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def state_folder(tmp_path_factory):
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    del os.environ["XDG_STATE_HOME"]
    if before is not None:
        os.environ["XDG_STATE_HOME"] = before
