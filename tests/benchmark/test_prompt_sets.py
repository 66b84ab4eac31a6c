"""Prompt sets as experiments: one template for each model, and length buckets of one source."""

import json

import pytest

from fmbench import Benchmark, Concurrency, Prompt, load_config
from fmbench.deployers import ExistingEndpoint
from fmbench.errors import ConfigError
from fmbench.prompts import Dataset, Trace


@pytest.fixture
def folder(tmp_path):
    rows = [{"input": f"q{n}", "context": "w " * n} for n in range(1, 9)]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "llama.txt").write_text("[INST] {question} [/INST]", encoding="utf-8")
    return tmp_path


def first_texts(benchmark):
    return [next(iter(one.prompts.source)).text for one in benchmark._asked]


def test_each_model_gets_its_template_and_the_set_has_one_name(folder):
    source = Dataset(folder / "qa.jsonl", template={"llama*": folder / "llama.txt", "*": "Q: {question}"}, seed=None)
    deployers = [ExistingEndpoint("http://127.0.0.1:1", model=model, name=model) for model in ("llama-2", "mistral")]
    benchmark = Benchmark(deployers=deployers, prompts=source, loads=[Concurrency(1), Concurrency(2)])
    assert first_texts(benchmark) == ["[INST] q1 [/INST]"] * 2 + ["Q: q1"] * 2
    assert {one.prompts.name for one in benchmark._asked} == {"dataset"}
    assert benchmark._asked[0].prompts is benchmark._asked[1].prompts
    assert [one.name for one in benchmark._asked] == [
        "llama-2, concurrency 1", "llama-2, concurrency 2", "mistral, concurrency 1", "mistral, concurrency 2",
    ]  # fmt: skip


def test_a_model_without_a_template_is_refused_before_anything_is_deployed(folder):
    source = Dataset(folder / "qa.jsonl", template={"llama*": "{question}"})
    with pytest.raises(ConfigError, match=r"template: none is given for mistral; there are: llama\*"):
        Benchmark(deployers=ExistingEndpoint("http://127.0.0.1:1", name="mistral"), prompts=source, loads=Concurrency(1))


CONFIG = """
deployers:
  - endpoint: {url: "http://127.0.0.1:1", name: llama-2}
  - endpoint: {url: "http://127.0.0.1:2", name: mistral}
prompts:
%s
loads: 1_load
"""


@pytest.mark.parametrize(
    ("prompts", "names"),
    [
        ("  dataset: {paths: qa.jsonl, template: TEMPLATE, split: [[1, 4], [4, 9]]}", ["1-4", "4-9"]),
        ("  qa: {dataset: {paths: qa.jsonl, template: TEMPLATE, split: [[1, 4], [4, 9]]}}", ["qa 1-4", "qa 4-9"]),
        (
            """  - dataset: {paths: qa.jsonl, template: TEMPLATE, split: [[1, 4]]}
  - dataset: {paths: qa.jsonl, template: TEMPLATE, name: all}""",
            ["1-4", "all"],
        ),
    ],
)
def test_yaml_has_templates_for_models_and_buckets(folder, prompts, names):
    text = CONFIG.replace("1_load", "{concurrency: 1}") % prompts.replace(
        "TEMPLATE", '{"llama*": llama.txt, "*": "{question} {context}"}'
    )
    (folder / "c.yml").write_text(text, encoding="utf-8")
    asked = load_config(folder / "c.yml")._asked
    assert list(dict.fromkeys(one.prompts.name for one in asked)) == names
    assert {str(one.prompts.source.template) for one in asked} == {str(folder / "llama.txt"), "{question} {context}"}


@pytest.mark.parametrize(
    ("split", "match"),
    [
        ("5", r"c\.yml:6: split must be a list of pairs"),
        ("[[1, a]]", r"split must be a list of pairs of token counts"),
        ("[]", r"split must be a list of pairs"),
    ],
)
def test_a_wrong_split_is_told_in_its_line(folder, split, match):
    prompts = f"  dataset: {{paths: qa.jsonl, split: {split}}}"
    (folder / "c.yml").write_text(CONFIG.replace("1_load", "{concurrency: 1}") % prompts, encoding="utf-8")
    with pytest.raises(ConfigError, match=match):
        load_config(folder / "c.yml")


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"prompts": Dataset("nothing/*.jsonl")}, "no data file at nothing"),
        ({"prompts": Dataset(__file__, template="nothing.txt")}, r"template: nothing\.txt does not exist"),
        ({"prompts": Dataset(__file__, template="{prompt}", tokens=(9, 1))}, "the least must not be above the most"),
        ({"prompts": Trace("nothing.csv")}, r"no data file at nothing\.csv"),
        ({"prompts": [Prompt(id="p", text="x")], "tokenizer": "nothing"}, "tokenizer: .*nothing does not exist"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_deployed(tmp_path, here, echo, events, parts, match):
    benchmark = Benchmark(deployers=here(), loads=Concurrency(1, requests=1), invoker=echo(), **parts)
    with pytest.raises(ConfigError, match=match):
        benchmark.run(tmp_path / "run")
    assert events == []
