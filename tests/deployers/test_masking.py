"""What is shown of command lines and environments tells what was run, and no secret."""

import pytest

from fmbench.deployers import Process
from fmbench.deployers.masking import shown_command, shown_environment


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("vllm serve m --max-model-len 4096", "vllm serve m --max-model-len 4096"),
        ("serve --api-key hush --port 1", "serve --api-key *** --port 1"),
        ("serve --api-key=hush", "serve --api-key=***"),
        ("env HF_TOKEN=hush OMP_NUM_THREADS=1 serve", "env HF_TOKEN=*** OMP_NUM_THREADS=1 serve"),
        ("serve --max-num-batched-tokens 512 --tokenizer x", "serve --max-num-batched-tokens 512 --tokenizer x"),
        ("serve --disable-auth --port 1", "serve --disable-auth --port 1"),
        ("serve http://me:hush@host/x", "serve http://***@host/x"),
    ],
)
def test_a_command_line(command, shown):
    assert shown_command(command.split()) == shown


def test_an_environment_keeps_what_performance_depends_on():
    env = {"OMP_NUM_THREADS": "1", "OPTION_DTYPE": "fp16", "MODE": "hush", "HF_TOKEN": "12345", "URL": "http://a:b@c"}
    masked = dict.fromkeys(("MODE", "HF_TOKEN", "URL"), "***")
    assert shown_environment(env) == {"OMP_NUM_THREADS": "1", "OPTION_DTYPE": "fp16", **masked}


def test_a_process_shows_no_secret():
    process = Process(
        "serve --api-key hush", url="http://127.0.0.1:9", env={"OTHER": "hush", "OMP_NUM_THREADS": 1}, facts={"image": "x"}
    )
    assert process.describe()["environment"] == {"OTHER": "***", "OMP_NUM_THREADS": "1"}
    assert process.describe()["image"] == "x"
    assert "hush" not in repr(process) + str(process.describe())
