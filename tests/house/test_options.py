"""A wrong option of an adapter is a ConfigError of one line; its value, which may be a secret, is not told."""

import pickle
from dataclasses import replace

import pytest
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, checked
from fmbench.deployers import ExistingEndpoint, Process
from fmbench.invokers import OpenAI
from fmbench.prompts import Dataset


@checked
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Mine:
    """A stranger's."""

    retries: int = 0
    size: int | None = None

    @property
    def twice(self) -> int:
        return 2 * self.retries


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OpenAI(api="speech"), "OpenAI: api: it should be 'chat'"),
        (lambda: OpenAI(stop="x"), "OpenAI has no option 'stop'"),
        (lambda: OpenAI(extra={"n": 2}), "OpenAI: extra: n must be 1, not 2: the tokens of several choices"),
        (lambda: OpenAI(headers={"Authorization": ["hush"]}), "OpenAI: headers: it should be a valid string"),
        (lambda: ExistingEndpoint("ftp://x"), "ExistingEndpoint: url: must be http://HOST:PORT or https://HOST"),
        (ExistingEndpoint, "ExistingEndpoint: the option 'url' is missing"),
        (lambda: ExistingEndpoint("http://me:hush@x"), "ExistingEndpoint: url: must not hold a user or a password"),
        (lambda: ExistingEndpoint("http://x", usd_per_hour=-1), "ExistingEndpoint: usd_per_hour: it should be greater than"),
        (
            lambda: ExistingEndpoint("http://x", usd_per_hour=1, usd_per_million_input_tokens=1),
            "ExistingEndpoint: give usd_per_hour, or the two prices per million tokens, not both",
        ),
        (lambda: Process("serve 'x", url="http://x"), "Process: command: its quotes do not match"),
        (lambda: Dataset("x.jsonl", limit=[]), "Dataset: limit: it should be a valid integer"),
        (lambda: replace(Mine(), retries="many"), "Mine: retries: it should be a valid integer"),
    ],
)
def test_a_wrong_option_is_one_line(make, said):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "pydantic.dev" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value.__cause__, ValidationError)
    assert "hush" not in str(caught.value.__cause__)


def test_a_right_one_is_what_it_was():
    mine = Mine(retries=2)
    assert (mine.twice, mine) == (4, Mine(retries=2))
    assert pickle.loads(pickle.dumps(mine)) == mine
    assert replace(mine, retries=3).retries == 3
    with pytest.raises(AttributeError):
        mine.retries = 1
