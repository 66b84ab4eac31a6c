"""Data files as prompts: filters, templates, and what is wrong with a file told by its line."""

import csv
import json
import tracemalloc
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbench import ConfigError
from fmbench.prompts import Dataset, PythonTopics
from fmbench.prompts.readers import read_rows
from fmbench.testing import check_prompt_source

SHARED = Path(__file__).parents[3] / "shared" / "data"
TEMPLATE = "Context: {context}\nQuestion: {question}"


class Words:
    """A tokenizer of words."""

    def count(self, texts):
        return [len(text.split()) for text in texts]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def longbench(tmp_path):
    rows = [
        {
            "input": f"q{n}",
            "context": "word " * n,
            "language": "en" if n % 3 else "zh",
            "length": n,
            "_id": f"x{n}",
            "answers": ["a"],
        }
        for n in range(1, 31)
    ]
    return write(tmp_path / "qa.jsonl", rows)


def test_longbench_rows_fill_a_template(longbench):
    prompts = list(Dataset(longbench, template=TEMPLATE, seed=None))
    assert prompts[1].text == "Context: word word \nQuestion: q2"
    assert prompts[1].id == "qa:2"
    assert prompts[1].labels["_id"] == "x2"
    assert len(prompts) == 30


def test_the_order_is_the_seeds(longbench):
    orders = [[prompt.id for prompt in Dataset(longbench, template=TEMPLATE, seed=seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    limited = [prompt.id for prompt in Dataset(longbench, template=TEMPLATE, limit=5)]
    assert limited == orders[0][:5]


def test_no_filter_changes_the_order(longbench):
    everything = [prompt.id for prompt in Dataset(longbench, template=TEMPLATE)]
    english = [prompt.id for prompt in Dataset(longbench, template=TEMPLATE, language="en")]
    assert english == [one for one in everything if one in set(english)] != sorted(english)


def test_what_the_limit_leaves_out_is_counted_too(longbench):
    source = Dataset(longbench, template=TEMPLATE, language="en", limit=5)
    assert source.dropped == {"language is not en": 10, "over the limit of 5": 15}


def test_filters_count_what_they_drop(longbench):
    source = Dataset(longbench, template=TEMPLATE, language="en", tokens=(10, 20)).counted_by(Words())
    prompts = list(source)
    assert {prompt.labels["language"] for prompt in prompts} == {"en"}
    assert sum(source.dropped.values()) + len(prompts) == 30
    assert source.dropped["language is not en"] == 10
    assert set(source.dropped) == {"language is not en", "shorter than 10 tokens", "longer than 20 tokens"}


@settings(max_examples=30)
@given(low=st.integers(3, 40), width=st.integers(0, 20))
def test_both_ends_of_a_length_filter_are_included(tmp_path_factory, low, width):
    file = write(tmp_path_factory.mktemp("d") / "a.jsonl", [{"prompt": "w " * n} for n in range(1, 61)])
    lengths = sorted(prompt.tokens for prompt in Dataset(file, tokens=(low, low + width), tokenizer=Words()))
    assert lengths == list(range(low, min(low + width, 60) + 1))


def test_a_row_on_a_boundary_is_in_both_buckets(tmp_path):
    file = write(tmp_path / "a.jsonl", [{"prompt": "w " * n} for n in range(1, 11)])
    buckets = Dataset(file, tokenizer=Words()).split([(1, 5), (5, 10)])
    assert {name: len(list(source)) for name, source in buckets.items()} == {"1-5": 5, "5-10": 6}


def test_texts_are_brought_to_normal_form_c(tmp_path):
    file = write(tmp_path / "a.jsonl", [{"prompt": unicodedata.normalize("NFD", "é Ångström")}])
    [prompt] = Dataset(file)
    assert prompt.text == "é Ångström"


def test_csv_and_folders_and_patterns_and_other_columns(tmp_path):
    (tmp_path / "a.csv").write_text('Frage,Text\n"was, bitte?","viel\nText"\n', encoding="utf-8")
    (tmp_path / "b.csv").write_text("Frage,Text\nx,y\n", encoding="utf-8")
    fields = {"question": "Frage", "context": "Text"}
    for paths in (tmp_path, f"{tmp_path}/*.csv", [tmp_path / "a.csv", tmp_path / "b.csv"]):
        texts = {prompt.text for prompt in Dataset(paths, template="{question} {context}", fields=fields)}
        assert texts == {"was, bitte? viel\nText", "x y"}


def test_a_template_file_and_braces_of_the_text(tmp_path, longbench):
    (tmp_path / "t.txt").write_text("{{json}} {question}", encoding="utf-8")
    prompts = list(Dataset(longbench, template=tmp_path / "t.txt", seed=None))
    assert prompts[0].text == "{json} q1"


def test_a_very_long_field_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("prompt\n" + "x" * 2_000_000 + "\n", encoding="utf-8")
    [prompt] = Dataset(tmp_path / "a.csv")
    assert len(prompt.text) == 2_000_000


def test_two_may_read_long_fields_at_once_and_the_limit_of_the_process_is_as_before(tmp_path):
    before = csv.field_size_limit()
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"prompt\nshort\n{'x' * 200_000}\n", encoding="utf-8")
    first, second = (read_rows(tmp_path / f"{name}.csv") for name in "ab")
    next(first), next(second)
    assert len(list(first)) == 1
    assert len(list(second)) == 1
    assert csv.field_size_limit() == before


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("en", "fr"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "qa.jsonl", [{"prompt": "x"}])
    paths = [f"{tmp_path}/*/qa.jsonl", tmp_path / "en" / "qa.jsonl"]
    assert [prompt.id for prompt in Dataset(paths, seed=None)] == ["en/qa.jsonl:1", "fr/qa.jsonl:1"]


def test_rows_are_not_all_held_in_memory(tmp_path):
    file = write(tmp_path / "a.jsonl", ({"prompt": str(n), "other": "x" * 5_000} for n in range(4_000)))
    assert file.stat().st_size > 20_000_000
    tracemalloc.start()
    try:
        assert len(list(Dataset(file, tokenizer=Words()))) == 4_000
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "content", "options", "match"),
    [
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": \n', {}, r"a\.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", {}, r"a\.jsonl:1: a list; each line must be one JSON object"),
        ("a.jsonl", "", {}, "holds no rows"),
        ("a.csv", "prompt,b\nx\n", {}, r"a\.csv:2: fewer fields"),
        ("a.xml", "<a/>", {}, r"is none of \.jsonl"),
        ("a.jsonl", '{"contxt": "c"}\n', {"template": "{context}"}, r"'context' is not in the data .* did you mean 'contxt'"),
        ("a.jsonl", '{"prompt": ["x"]}\n', {}, r"field 'prompt' is a list, not text"),
        ("a.jsonl", '{"prompt": "x", "language": "fr"}\n', {"language": "en"}, "1 rows: 1 dropped because language is not en"),
        ("a.jsonl", '{"prompt": "x"}\n', {"language": "en"}, "no field 'language'"),
        ("a.jsonl", '{"prompt": "x"}\n', {"tokens": (1, 2)}, "needs a tokenizer"),
        ("a.jsonl", '{"prompt": "x"}\n', {"template": "missing.txt"}, r"template: missing\.txt does not exist"),
        ("a.jsonl", '{"prompt": "x"}\n', {"template": "{prompt} {"}, "braces do not match"),
        ("a.jsonl", '{"prompt": "x"}\n', {"template": "{prompt!r}"}, "is not a field's name; write {{ and }}"),
        ("a.jsonl", '{"text": "x"}\n', {}, r"'prompt' is not in the data .* no template= is given; there are: text;"),
        ("a.jsonl", '{"prompt": "x"}\n', {"fields": {"promt": "x"}}, r"no field 'promt'; did you mean 'prompt'\?"),
        ("a.jsonl", '{"prompt": "x"}\n', {"tokens": (2, 1), "tokenizer": "x"}, "least must not be above the most"),
        ("a.jsonl", '{"prompt": "\\ud83d"}\n', {}, r"a\.jsonl:1: .* surrogate"),
        ("a.jsonl", "[" * 100_000, {}, r"a\.jsonl:1: not JSON: nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(tmp_path, name, content, options, match):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=match) as caught:
        list(Dataset(tmp_path / name, **options))
    assert "\n" not in str(caught.value)


def test_a_template_that_makes_all_prompts_alike_is_refused(tmp_path, longbench):
    (tmp_path / "t.txt").write_text("Answer the question.", encoding="utf-8")
    with pytest.raises(ConfigError, match="template: it has no field"):
        list(Dataset(longbench, template=tmp_path / "t.txt"))


def test_missing_files_and_other_encodings_are_told(tmp_path):
    with pytest.raises(ConfigError, match="no data file at"):
        list(Dataset(tmp_path / "nothing.jsonl"))
    (tmp_path / "a.jsonl").write_bytes('{"prompt": "é"}\n'.encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        list(Dataset(tmp_path / "a.jsonl"))


@pytest.mark.skipif(not (SHARED / "llama2_tokenizer").is_dir(), reason="the seed's tokenizer is not here")
def test_the_seeds_template_counts_97_tokens(caplog):
    caplog.set_level("INFO", "fmbench.prompts")
    source = Dataset(
        SHARED / "python_topics.jsonl", template=SHARED / "prompt_template.txt", language="en", tokens=(2000, 3000),
        tokenizer=SHARED / "llama2_tokenizer",
    )  # fmt: skip
    prompts = list(source)
    assert "prompt template length=97 tokens" in caplog.text
    assert all(2000 <= prompt.tokens <= 3000 for prompt in prompts)


def test_python_topics_are_distinct_and_the_same_each_time():
    source = PythonTopics(150)
    assert len({prompt.text for prompt in source}) == 150
    assert list(source) == list(source)
    with pytest.raises(ConfigError, match="the topics give"):
        list(PythonTopics(100_000))


def test_topics_passages_are_whole_lines_of_several_lengths():
    from pydoc_data.topics import topics

    lines = {line for text in topics.values() for line in text.splitlines()}
    prompts = list(PythonTopics(150))
    for prompt in prompts:
        passage = prompt.text.split("\n\n", 1)[1].rsplit("\n\nQuestion:", 1)[0]
        assert set(passage.splitlines()) <= lines
    lengths = sorted(len(prompt.text) for prompt in prompts)
    assert lengths[-1] > 3 * lengths[0]


SHAREGPT = [
    {"from": "system", "value": "be brief"}, {"from": "human", "value": "one"}, {"from": "gpt", "value": "1"},
    {"from": "human", "value": "two"}, {"from": "human", "value": "and a half"}, {"from": "gpt", "value": "2.5"},
    {"from": "human", "value": "three"}, {"from": "gpt", "value": "3"},
]  # fmt: skip
CHAT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "bye"}]


@pytest.fixture
def talks(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ({"conversations": SHAREGPT}, {"messages": CHAT})), "utf-8")
    return path


def test_rows_of_conversations_give_the_first_question_or_as_many_turns_as_asked_for(talks):
    assert [(prompt.text, prompt.labels, prompt.after) for prompt in Dataset(talks, seed=None)] == [
        ("one", {"answer": "1"}, None),
        ("hello", {"answer": "hi"}, None),
    ]
    every = list(Dataset(talks, seed=None, turns=None, pause_seconds=2))
    assert [(prompt.id, prompt.after, prompt.pause_seconds) for prompt in every] == [
        ("talks:1", None, 0), ("talks:1.2", "talks:1", 2), ("talks:1.3", "talks:1.2", 2),
        ("talks:2", None, 0), ("talks:2.2", "talks:2", 2),
    ]  # fmt: skip
    assert [message["content"] for message in every[0].messages] == ["be brief", "one"]
    assert [prompt.text for prompt in every[1:]] == ["two\n\nand a half", "three", "hello", "bye"]
    assert [prompt.id for prompt in Dataset(talks, seed=None, turns=2, limit=1)] == ["talks:1", "talks:1.2"]
    check_prompt_source(Dataset(talks, turns=None))
    template = Dataset(talks, seed=None, turns=None, template="Q: {prompt}")
    assert [prompt.text for prompt in template][3:] == ["Q: hello", "bye"]


def test_a_conversations_length_is_its_first_turns_for_filters(talks):
    class Words:
        def count(self, texts):
            return [len(text.split()) for text in texts]

    assert [prompt.id for prompt in Dataset(talks, seed=None, turns=None, tokens=(2, 9), tokenizer=Words())] == [
        "talks:1", "talks:1.2", "talks:1.3"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"conversations": "hello"}, r"a\.jsonl:1: the field 'conversations' is a str, not a list of messages"),
        ({"conversations": [{"from": "gpt", "value": "x"}]}, "holds no message of a person"),
        ({"messages": [{"role": "user", "content": 3}]}, "message 1 of 'messages' is not"),
        ({"messages": ["hello"]}, "message 1 of 'messages' is not"),
    ],
)
def test_what_is_no_conversation_is_told_by_its_line(tmp_path, row, match):
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=match):
        list(Dataset(tmp_path / "a.jsonl"))


def test_a_column_that_only_looks_like_a_conversation_is_left_alone(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": "none", "question": "q", "talk": CHAT}) + "\n", encoding="utf-8")
    assert [prompt.text for prompt in Dataset(tmp_path / "a.jsonl", template="{question}")] == ["q"]
    named = Dataset(tmp_path / "a.jsonl", fields={"conversation": "talk"}, turns=None)
    assert [prompt.text for prompt in named] == ["hello", "bye"]
