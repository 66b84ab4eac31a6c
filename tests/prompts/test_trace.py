"""Traces: their times, lengths and shared beginnings, as prompts for Replay."""

import json
from itertools import pairwise

import pytest

from fmbench import ConfigError, Replay
from fmbench.prompts import Trace
from fmbench.testing import check_prompt_source


class Words:
    """A tokenizer of words."""

    def count(self, texts):
        return [len(text.split()) for text in texts]


@pytest.fixture
def azure(tmp_path):
    rows = ["18:17:03.9799600,40,8", "18:17:04.0319600,25,1", "18:17:04.0319601,90,0", "18:17:14.0,30,5"]
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(f"2023-11-16 {row}\n" for row in rows)
    (tmp_path / "azure.csv").write_text(text, encoding="utf-8")
    return tmp_path / "azure.csv"


@pytest.fixture
def mooncake(tmp_path):
    rows = [
        {"timestamp": 0, "input_length": 45, "output_length": 5, "hash_ids": [1, 2, 3, 4, 5]},
        {"timestamp": 3000, "input_length": 38, "output_length": 5, "hash_ids": [1, 2, 6, 7]},
        {"timestamp": 1500, "input_length": 12, "output_length": 5, "hash_ids": [8, 9]},
        {"timestamp": 4000, "input_length": 20, "output_length": 5, "hash_ids": [1, 2]},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "m.jsonl"


def test_azures_times_to_the_tenth_of_a_microsecond_and_lengths(azure):
    prompts = list(Trace(azure, tokenizer=Words()))
    assert [prompt.at_seconds for prompt in prompts] == pytest.approx([0, 0.052, 0.0520001, 10.02004], abs=1e-6)
    assert [(prompt.tokens, prompt.max_new_tokens) for prompt in prompts] == [(40, 8), (25, 1), (90, 1), (30, 5)]
    assert [len(prompt.text.split()) for prompt in prompts] == [40, 25, 90, 30]
    check_prompt_source(Trace(azure, tokenizer=Words()))


def test_replays_gaps_are_the_traces(azure):
    prompts = list(Trace(azure, tokenizer=Words()))
    load = Replay()
    planned = list(load.plan(load.arranged(prompts), warmup=0))[:4]
    gaps = [later.due_seconds - earlier.due_seconds for earlier, later in pairwise(planned)]
    assert gaps == pytest.approx([0.052, 1e-7, 9.96804], abs=1e-6)


def test_speed_window_limit_and_length_leave_out_and_count(azure):
    source = Trace(azure, tokenizer=Words(), speed=2, window=(0.0, 5.0), longest_tokens=50, limit=1)
    [prompt] = source
    assert prompt.at_seconds == 0
    assert source.dropped == {"outside of 0 to 5 s": 1, "longer than 50 tokens": 1, "over the limit of 1": 1}
    assert list(Trace(azure, tokenizer=Words(), speed=2))[3].at_seconds == pytest.approx(5.01002, abs=1e-6)


def test_prefix_hashes_become_shared_beginnings(mooncake):
    prompts = list(Trace(mooncake, tokenizer=Words(), block_tokens=10))
    assert [prompt.at_seconds for prompt in prompts] == [0, 1.5, 3, 4]
    first, other, second, third = (prompt.text.split() for prompt in prompts)
    assert first[:20] == second[:20] != other[:20]
    assert first[20:30] != second[20:30]
    assert third[:10] == first[:10]  # two whole blocks would leave no token of its own
    assert [len(words) for words in (first, other, second, third)] == [45, 12, 38, 20]


def test_lengths_and_shared_tokens_are_exact_with_a_real_tokenizer(mooncake, tokenizer_folders):
    from tokenizers import Tokenizer

    for kind, folder in tokenizer_folders.items():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        first, _, second, _ = (
            tokenizer.encode(prompt.text).ids for prompt in Trace(mooncake, tokenizer=folder, block_tokens=10)
        )
        assert (len(first), len(second)) == (45, 38), kind
        assert first[:19] == second[:19], kind


@pytest.mark.parametrize(
    ("name", "content", "options", "match"),
    [
        ("a.csv", "a,b\n1,2\n", {}, r"a\.csv:2: neither Azure's nor Mooncake's columns"),
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nsoon,1,1\n", {}, r"a\.csv:2: a time or a length cannot be read"),
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,0,1\n", {}, "a length must not be below 1"),
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n", {}, "holds no request"),
        (
            "a.csv",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,9,1\n",
            {"window": (5, 6)},
            "no request is left",
        ),
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,9,1\n", {"tokenizer": None}, "give tokenizer="),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, name, content, options, match):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=match) as caught:
        list(Trace(tmp_path / name, **({"tokenizer": Words()} | options)))
    assert "\n" not in str(caught.value)
