"""Tokenizers count the same wherever they are, and what is none is told in one line."""

import json
import math
import pickle

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from fmbench import ConfigError, Prompt, load_tokenizer
from fmbench.benchmark.cases import PromptSet
from fmbench.benchmark.drawing import draw
from fmbench.benchmark.tokenizers import BATCH, _batches, estimate_tokens


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


CHAT = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}a{% endif %}"
)


@pytest.fixture
def with_chat(folder):
    config = {"chat_template": CHAT, "bos_token": "b", "tokenizer_class": "NoSuchTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.filterwarnings("default")  # importing transformers warns of this and that
def test_messages_are_counted_after_the_chat_template(with_chat):
    pytest.importorskip("transformers", reason="the transformers extra is not installed")
    tokenizer = load_tokenizer(with_chat)
    assert tokenizer.has_chat_template
    one, two = [{"role": "user", "content": "a b"}], [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    # b [ user ] a b a, and twice three for the roles; the tokenizer's own special tokens are not added again
    assert tokenizer.count_messages([one, two]) == [7, 10]


def test_without_a_chat_template_there_are_no_lengths_of_messages(folder):
    tokenizer = load_tokenizer(folder)
    assert not tokenizer.has_chat_template
    with pytest.raises(ConfigError, match="has no chat template"):
        tokenizer.count_messages([[{"role": "user", "content": "a"}]])


def test_without_the_extra_chat_messages_are_told_so(with_chat, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigError, match=r'chat template .* needs: pip install "fmbench-harness\[transformers\]"'):
        load_tokenizer(with_chat).count_messages([[{"role": "user", "content": "a"}]])
    messages = [Prompt(id="m", messages=[{"role": "user", "content": "a"}]), Prompt(id="t", text="a b")]
    assert [prompt.tokens for prompt in draw(PromptSet("p", messages), with_chat).prompts] == [None, 2]
    assert "the lengths of chat messages are estimated" in caplog.text


@pytest.mark.filterwarnings("default")
def test_what_is_drawn_is_counted_by_kind(with_chat):
    pytest.importorskip("transformers", reason="the transformers extra is not installed")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    prompts = [
        Prompt(id="text", text="a b"),
        Prompt(id="chat", messages=[{"role": "user", "content": "a b"}]),
        Prompt(id="image", messages=[{"role": "user", "content": [image]}]),
        Prompt(id="counted", text="a b", tokens=77),
    ]
    assert [prompt.tokens for prompt in draw(PromptSet("p", prompts), with_chat).prompts] == [2, 7, None, 77]


@pytest.mark.filterwarnings("default")
def test_transformers_reads_what_has_no_tokenizer_json(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the transformers extra is not installed")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    assert transformers  # it alone can read this
    assert load_tokenizer(tmp_path).count(["a b", "", "a " * 100]) == [4, 2, 102]


def test_a_batch_is_cut_by_characters_too(folder):
    texts = ["a " * 300_000, "b", "a " * 500_000, "a"]
    assert [len(batch) for batch in _batches(texts)] == [3, 1]
    assert load_tokenizer(folder).count(texts) == [300_000, 1, 500_000, 1]
