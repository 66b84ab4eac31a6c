"""What stands in files: every kind is read, a broken row is told by its line, and the others are still there."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tokenizers import Tokenizer, models, pre_tokenizers

from fmbench import ConfigError
from fmbench.prompts import Dataset
from fmbench.prompts.readers import read_rows
from fmbench.prompts.rows import RowError

SHARED = Path(__file__).parents[3] / "shared" / "data"


class Words:
    """A tokenizer of words, which knows how often it was asked."""

    def __init__(self):
        self.asked = 0

    def count(self, texts):
        self.asked += len(texts)
        return [len(text.split()) for text in texts]


def lines(path, rows, encoding="utf-8"):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding=encoding)
    return path


ROWS = [{"prompt": f"é {n}", "language": "en", "n": n} for n in range(5)]


def test_every_kind_of_file_gives_the_same_prompts(tmp_path):
    lines(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "b.json").write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
    for name, mark in (("c.csv", ","), ("d.tsv", "\t")):
        rows = [mark.join(ROWS[0]), *(mark.join(map(str, row.values())) for row in ROWS)]
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "e.parquet", row_group_size=2)
    lines(tmp_path / "f.jsonl", ROWS, "utf-16")
    files = sorted(tmp_path.iterdir())
    for file in files:
        assert [prompt.text for prompt in Dataset(file, seed=None)] == ["é 0", "é 1", "é 2", "é 3", "é 4"], file
    assert len(list(Dataset(tmp_path))) == 5 * len(files)
    assert [prompt.id for prompt in Dataset(tmp_path / "e.parquet", seed=None)][-1] == "e:5"


def test_a_folder_among_what_a_pattern_matches_is_read_too(tmp_path):
    (tmp_path / "in").mkdir()
    lines(tmp_path / "in" / "a.jsonl", ROWS)
    (tmp_path / "in" / "readme.txt").write_text("x", encoding="utf-8")
    assert len(list(Dataset(f"{tmp_path}/*"))) == 5


def test_one_broken_line_among_100_000_is_told_by_its_number_and_skipped_if_asked(tmp_path, caplog):
    file = tmp_path / "a.jsonl"
    with file.open("w", encoding="utf-8") as out:
        out.writelines(f'{{"prompt": "{n}"}}\n' if n != 70_001 else '{"prompt": \n' for n in range(1, 100_001))
    with pytest.raises(ConfigError, match=r"a\.jsonl:70001: not JSON"):
        list(Dataset(file))
    source = Dataset(file, on_broken_row="skip", seed=None)
    assert [prompt.id for prompt in source][69_999:70_001] == ["a:70000", "a:70002"]
    assert source.dropped == {"broken: not JSON": 1}
    assert "skipped: " in caplog.text
    assert "a.jsonl:70001" in caplog.text


def test_what_can_be_wrong_with_a_row_is_counted_by_kind(tmp_path, caplog):
    good = [{"prompt": "x", "language": "en"}] * 2
    bad = [
        {"prompt": 5, "language": "en"},
        {"prompt": None, "language": "en"},
        {"text": "x", "language": "en"},
        {"prompt": "x"},
    ]
    file = lines(tmp_path / "a.jsonl", good + bad)
    with file.open("ab") as out:
        out.write('{"prompt": "é"}\n'.encode("latin-1") + b'[1]\n{"prompt": "\\ud83d", "language": "en"}\n')
    source = Dataset(file, language="en", on_broken_row="skip")
    assert len(list(source)) == 3  # a number is text enough
    assert source.dropped == {
        "broken: the field 'prompt' is not text": 1,
        "broken: no field 'prompt'": 1,
        "broken: no field 'language'": 1,
        "broken: not of the encoding": 1,
        "broken: not a JSON object": 1,
        "broken: half of a surrogate pair": 1,
    }
    assert sum(source.dropped.values()) + 3 == 9


def test_broken_rows_of_csv_files_are_told_and_the_next_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'prompt,b\nx,1\ny\n"z"w,2\n\xe9,3\nv,4\n')
    read = list(read_rows(tmp_path / "a.csv"))
    assert [row.values["prompt"] for row in read if not isinstance(row, RowError)] == ["x", "v"]
    assert [str(row).partition("a.csv:")[2][:1] for row in read if isinstance(row, RowError)] == ["3", "4", "5"]
    assert list(Dataset(tmp_path / "a.csv", encoding="latin-1", on_broken_row="skip", seed=None))[1].text == "é"


def test_an_empty_file_among_others_is_told_and_alone_refused(tmp_path, caplog):
    lines(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "b.jsonl").touch()
    assert len(list(Dataset(tmp_path))) == 5
    assert f"{tmp_path / 'b.jsonl'} holds no rows" in caplog.text
    with pytest.raises(ConfigError, match="holds no rows"):
        list(Dataset(tmp_path / "b.jsonl"))


@pytest.mark.parametrize(
    ("name", "content", "options", "match"),
    [
        ("a.parquet", b"PAR1 no", {}, r"a\.parquet: not Parquet"),
        ("a.json", b'[{"prompt": "x"},\n{]', {}, r"a\.json:2: not JSON"),
        ("a.json", b"[1]", {}, r"a\.json:1: a int; each item"),
        ("a.jsonl", '{"prompt": "é"}\n'.encode("latin-1"), {}, r"a\.jsonl:1: not UTF-8 at character 13"),
        ("a.jsonl", b'{"prompt": "x"}\n', {"encoding": "utf-99"}, "encoding: Python knows no 'utf-99'"),
        ("a.jsonl", "x".encode("utf-16"), {"encoding": "utf-16"}, r"a\.jsonl:1: not JSON"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, name, content, options, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=match) as caught:
        list(Dataset(tmp_path / name, **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_prompt_of_two_megabytes_is_read_whole(tmp_path, name):
    text = "wörter " * 300_000
    if name == "a.parquet":
        parquet.write_table(pa.table({"prompt": [text]}), tmp_path / name)
    else:
        (tmp_path / name).write_text(f"prompt\n{text}\n" if name == "a.csv" else json.dumps({"prompt": text}), encoding="utf-8")
    counter = Words()
    [prompt] = Dataset(tmp_path / name, tokenizer=counter)
    assert (prompt.text, prompt.tokens) == (text, 300_000)


def test_buckets_read_and_count_every_row_once(tmp_path):
    file = lines(tmp_path / "a.jsonl", [{"prompt": "w " * n} for n in range(1, 31)])
    counter = Words()
    buckets = Dataset(file).split([(1, 10), (10, 20), (20, 25)])
    buckets = {name: source.counted_by(counter) for name, source in buckets.items()}
    assert {name: len(list(source)) for name, source in buckets.items()} == {"1-10": 10, "10-20": 11, "20-25": 6}
    assert counter.asked == 30 + 1  # and the template's own length
    assert buckets["20-25"].dropped == {"shorter than 20 tokens": 19, "longer than 25 tokens": 5}
    file.write_text("", encoding="utf-8")
    assert len(list(buckets["1-10"])) == 10  # nothing is read again


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    spans=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10)), min_size=1, max_size=4, unique=True),
    limit=st.one_of(st.none(), st.integers(1, 10)),
)
def test_a_bucket_is_what_its_own_filter_would_have_kept(tmp_path_factory, lengths, spans, limit):
    file = lines(tmp_path_factory.mktemp("d") / "a.jsonl", [{"prompt": "w " * n} for n in lengths])
    pairs = [(low, low + width) for low, width in spans]
    source = Dataset(file, tokenizer=Words(), limit=limit)
    for (low, high), bucket in zip(pairs, source.split(pairs).values(), strict=True):
        alone = Dataset(file, tokenizer=Words(), limit=limit, tokens=(low, high))
        inside = sum(low <= n <= high for n in lengths)
        if not inside:
            with pytest.raises(ConfigError, match="no prompt is left"):
                list(bucket)
            continue
        assert list(bucket) == list(alone)
        assert bucket.dropped == alone.dropped
        assert len(list(bucket)) + sum(bucket.dropped.values()) == len(lengths)
        assert len(list(bucket)) == min(inside, limit or inside)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@settings(max_examples=60)
@given(before=texts, between=texts, context=texts, question=texts)
def test_a_template_holds_its_own_text_and_the_fields_as_they_are(tmp_path_factory, before, between, context, question):
    import unicodedata

    folder = tmp_path_factory.mktemp("t")
    file = lines(folder / "a.jsonl", [{"context": context, "input": question}])
    written = [part.replace("{", "{{").replace("}", "}}") for part in (before, between)]
    (folder / "t.txt").write_text(f"{written[0]}{{context}}{written[1]}{{question}}", encoding="utf-8", newline="")
    [prompt] = Dataset(file, template=folder / "t.txt")
    wanted = unicodedata.normalize("NFC", before + context + between + question)
    assert prompt.text.replace("\r\n", "\n").replace("\r", "\n") == wanted.replace("\r\n", "\n").replace("\r", "\n")


def test_each_model_has_its_template(longbench):
    source = Dataset(longbench, template={"llama*": "[INST] {question}", "*": "{question}"}, seed=None)
    assert next(iter(source.for_model(["x", "llama-2"]))).text == "[INST] q0"
    assert next(iter(source.for_model(["mistral"]))).text == "q0"
    with pytest.raises(ConfigError, match=r"choose with for_model"):
        list(source)
    with pytest.raises(ConfigError, match=r"template: none is given for mistral or m; there are: llama\*"):
        Dataset(longbench, template={"llama*": "{question}"}).for_model(["mistral", "m"])


def test_buckets_of_a_model_are_still_counted_once(longbench):
    counter = Words()
    buckets = Dataset(longbench, template={"a": "x {context}", "b": "{context}"}, tokenizer=counter).split([(0, 5), (5, 40)])
    assert [len(list(source.for_model(["a"]))) for source in buckets.values()] == [5, 6]
    assert counter.asked == 11


@pytest.fixture
def longbench(tmp_path):
    return lines(tmp_path / "qa.jsonl", [{"input": f"q{n}", "context": "w " * n} for n in range(10)])


MANY = r"""
import re, sys
from pathlib import Path
from fmbench.benchmark.cases import PromptSet
from fmbench.benchmark.drawing import draw
from fmbench.prompts import Dataset
drawn = draw(PromptSet("p", Dataset(sys.argv[1], template="{context} {question}")), sys.argv[2])
# Not getrusage: its peak is inherited from the process that started this one.
peak = re.search("VmHWM: *([0-9]+)", Path("/proc/self/status").read_text().replace("\t", " "))
print(len(drawn.prompts), int(peak[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its peak")
def test_100_000_prompts_are_counted_without_holding_300_megabytes(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    lines(tmp_path / "a.jsonl", ({"context": "word " * 75, "input": f"q{n}", "_id": f"id-{n}"} for n in range(100_000)))
    command = [sys.executable, "-c", MANY, str(tmp_path / "a.jsonl"), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert int(said[0]) == 100_000
    assert int(said[1]) < 300
