"""Tokenizers count the same wherever they are, and what is none is told in one line."""

import json
import math
import pickle

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from fmbench import ConfigError, load_tokenizer
from fmbench.benchmark.tokenizers import BATCH, estimate_tokens


@pytest.fixture
def folder(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # As some published tokenizers have it; a count must not be cut short or filled up.
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_folder_and_its_file_count_alike_and_whole(folder):
    texts = ["a b c", "", "a " * 100]
    assert load_tokenizer(folder).count(texts) == [3, 0, 100]
    assert load_tokenizer(str(folder / "tokenizer.json")).count(texts) == [3, 0, 100]


def test_more_than_a_batch_keeps_its_order(folder):
    texts = ["a " * (n % 7) for n in range(2 * BATCH + 3)]
    assert load_tokenizer(folder).count(texts) == [n % 7 for n in range(2 * BATCH + 3)]


def test_it_travels_to_another_process(folder):
    tokenizer = load_tokenizer(folder)
    sent = pickle.loads(pickle.dumps(tokenizer))
    assert sent == tokenizer
    assert sent.count(["a b"]) == [2]


def test_a_relative_path_means_the_same_after_a_change_of_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    tokenizer = load_tokenizer(".")
    monkeypatch.chdir("/")
    assert tokenizer.count(["a b"]) == [2]


def test_what_counts_is_taken_as_it_is():
    class Words:
        def count(self, texts):
            return [len(text.split()) for text in texts]

    words = Words()
    assert load_tokenizer(words) is words


@pytest.mark.parametrize(
    ("files", "given", "match"),
    [
        ({}, "nowhere", "does not exist; give a folder that holds a tokenizer.json"),
        ({}, ".", "holds no tokenizer"),
        ({"tokenizer.json": "{"}, ".", "is not a tokenizer"),
        ({"a.bin": "x"}, "a.bin", "is no tokenizer.json"),
        ({}, 5, "neither a folder nor an object with count"),
    ],
)
def test_what_is_no_tokenizer_is_told_in_one_line(tmp_path, files, given, match):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=match) as caught:
        load_tokenizer(tmp_path / given if isinstance(given, str) else given)
    assert "\n" not in str(caught.value)


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({}))
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigError, match=r'pip install "fmbench-harness\[transformers\]"'):
        load_tokenizer(tmp_path)


def test_the_estimate_is_a_quarter_of_the_characters():
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
    assert estimate_tokens("x" * 1001) == math.ceil(1001 / 4)
