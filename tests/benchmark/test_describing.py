"""What goes into run.json of the parts: enough, and no secrets."""

from dataclasses import dataclass, field
from pathlib import Path

from fmbench.benchmark.describing import describe


@dataclass(frozen=True)
class Adapter:
    url: str = "http://x"
    api_key: str = "sk-12345"
    api_key_env: str = "MY_KEY"
    headers: dict = field(default_factory=lambda: {"Authorization": "Bearer abc", "X-Team": "a"})
    hidden: str = field(default="hush", repr=False)
    folder: Path = Path("a/b")
    pair: tuple = (1, 2)


def test_secrets_are_masked_and_hidden_fields_left_out():
    assert describe(Adapter()) == {
        "type": "Adapter",
        "url": "http://x",
        "api_key": "***",
        "api_key_env": "MY_KEY",
        "headers": {"Authorization": "***", "X-Team": "a"},
        "folder": "a/b",
        "pair": [1, 2],
    }


def test_what_is_not_plain_gives_its_type():
    assert describe(object()) == {"type": "builtins.object"}
