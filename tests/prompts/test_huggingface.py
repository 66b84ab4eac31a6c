"""Data sets that the datasets library loads, here from local folders: the hub's own are the same to it."""

import json

import pytest

from fmbench import ConfigError
from fmbench.prompts import HuggingFace

pytestmark = pytest.mark.filterwarnings("default")  # the library warns of this and that


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("datasets", reason="the datasets extra is not installed")
    rows = [{"question": f"q{n}", "language": "en" if n % 2 else "fr"} for n in range(10)]
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "d" / "test.jsonl").write_text(json.dumps({"question": "other", "language": "en"}) + "\n", encoding="utf-8")
    return tmp_path / "d"


def test_rows_are_streamed_filtered_and_fill_a_template(folder):
    source = HuggingFace(str(folder), template="Q: {frage}", fields={"frage": "question"}, language="en", rows=6)
    assert [(prompt.id, prompt.text) for prompt in source] == [("train:2", "Q: q1"), ("train:4", "Q: q3"), ("train:6", "Q: q5")]
    assert source.dropped == {"language is not en": 3}
    assert [prompt.text for prompt in HuggingFace(str(folder), split_name="test", template="{question}")] == ["other"]


def test_sharegpts_first_question_is_the_prompt(tmp_path):
    pytest.importorskip("datasets", reason="the datasets extra is not installed")
    turns = [{"from": "system", "value": "s"}, {"from": "human", "value": "hello?"}, {"from": "gpt", "value": "hello!"}]
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.jsonl").write_text(json.dumps({"id": "x", "conversations": turns}) + "\n", encoding="utf-8")
    [prompt] = HuggingFace(str(tmp_path / "s"))
    assert (prompt.text, prompt.labels) == ("hello?", {"id": "x", "answer": "hello!"})


def test_what_cannot_be_loaded_and_the_missing_extra_are_told_in_one_line(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the datasets extra is not installed")
    with pytest.raises(ConfigError, match=r"huggingface: .* cannot be loaded") as caught:
        list(HuggingFace(str(tmp_path / "nothing")))
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ConfigError, match=r'pip install "fmbench-harness\[datasets\]"'):
        list(HuggingFace("x"))
