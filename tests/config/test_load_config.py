"""YAML in, Benchmark out; whatever is wrong is one line with its place."""

import textwrap

import pytest

from fmbench import ConfigError, load_config
from fmbench.load import Concurrency, Poisson

GOOD = """
name: mine
deployers:
  - endpoint: {url: "http://127.0.0.1:9", model: m, name: a, usd_per_hour: 2}
  - llamacpp: {slots: 2, name: b}
prompts:
  qa:
    dataset:
      paths: qa.jsonl
      template: t.txt
  inline: {dataset: {paths: [qa.jsonl], template: "{question}"}}
loads: [{concurrency: 4}, {concurrency: {n: 8, seconds: 60}}, {poisson: {per_second: 2.5, seed: 3}}]
parameters: {max_new_tokens: 100, temperature: 0.1}
invoker: openai
tokenizer: tok
slo: {latency_p95_seconds: 5}
reporters: [csv, html]
max_hours: 2
"""


@pytest.fixture
def write(tmp_path):
    def make(text):
        (tmp_path / "c.yml").write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path / "c.yml"

    return make


def test_a_whole_configuration(write, tmp_path):
    benchmark = load_config(write(GOOD))
    asked = benchmark._asked
    assert benchmark.name == "mine"
    assert [one.name for one in asked][:3] == ["a, qa, concurrency 4", "a, qa, concurrency 8", "a, qa, Poisson 2.5/s"]
    assert len(asked) == 2 * 2 * 3
    assert {one.load for one in asked} == {Concurrency(4), Concurrency(8, seconds=60), Poisson(2.5, seed=3)}
    source = asked[0].prompts.source
    assert source.paths == str(tmp_path / "qa.jsonl")
    assert source.template == str(tmp_path / "t.txt")
    inline = next(one.prompts.source for one in asked if one.prompts.name == "inline")
    assert (inline.paths, inline.template) == ([str(tmp_path / "qa.jsonl")], "{question}")
    assert asked[0].tokenizer == str(tmp_path / "tok")
    assert asked[0].parameters.max_new_tokens == 100
    assert benchmark.slo.as_dict() == {"latency_p95_seconds": 5}


def test_cases_one_by_one(write):
    benchmark = load_config(
        write("""
        cases:
          - {deployer: {endpoint: "http://127.0.0.1:9"}, prompts: {dataset: a.jsonl}, load: {concurrency: 1}, name: first}
          - deployer: {endpoint: "http://127.0.0.1:9"}
            prompts: {dataset: a.jsonl}
            load: {constant_rate: {per_second: 3, requests: 200}}
            parameters: {max_new_tokens: 7}
    """)
    )
    assert benchmark._asked[0].name == "first"
    assert benchmark._asked[0].deployment is benchmark._asked[1].deployment
    assert benchmark.name == "c"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("deployrs: llamacpp\n", r"c\.yml:1: there is no key 'deployrs'; did you mean 'deployers'\?"),
        ("name: x\ndeployers: [llamacp]\n", r"c\.yml:2: there is no deployer called 'llamacp'; did you mean 'llamacpp'\?"),
        ("name: x\ndeployers:\n  - llamacpp: {slot: 2}\n", r"c\.yml:3: llamacpp has no field 'slot'; did you mean 'slots'\?"),
        ("deployers:\n  - llamacpp:\n      slots: many\n", r"c\.yml:2: llamacpp: slots: .*valid integer"),
        ("deployers:\n  - endpoint: {model: m}\n", r"c\.yml:2: endpoint: the field 'url' is missing"),
        ("deployers:\n  - endpoint: {url: ftp://x}\n", r"c\.yml:2: endpoint: url: must be http"),
        ("loads: [{concurency: 1}]\n", r"c\.yml:1: there is no load called 'concurency'; did you mean 'concurrency'\?"),
        ("loads:\n- concurrency: 0\n", r"c\.yml:2: concurrency: concurrency must be 1 or more, not 0"),
        ("loads:\n- poisson: {seed: 1}\n", r"c\.yml:2: poisson: the field 'per_second' is missing"),
        ("loads: [{concurrency: 1, poisson: 2}]\n", r"c\.yml:1: loads: a load is one name with its fields, not 2 names"),
        ("parameters: {max_tokens: 3}\n", r"c\.yml:1: parameters has no field 'max_tokens'; did you mean 'max_new_tokens'\?"),
        ("slo: {latency_p94_seconds: 3}\n", r"c\.yml:1: slo: .*latency_p9"),
        ("name: a\nname: b\n", r"c\.yml:2: the document: 'name' stands twice \(first in line 1\)"),
        ("name: [a\n", r"c\.yml:2: not YAML"),
        ("", r"c\.yml is empty"),
        ("- a\n", r"c\.yml:1: the document must be a mapping"),
        ("name: x\n", r"c\.yml: deployers is missing"),
        (
            "max_usd: 1\ndeployers: {endpoint: 'http://x'}\nprompts: {dataset: a}\nloads: {concurrency: 1}\n",
            r"c\.yml: max_usd: the price of x is not known: give it usd_per_hour=",
        ),
        ("aws: {}\ninference_parameters: {}\n", r"c\.yml:2: files with 'inference_parameters' cannot be read yet"),
        (
            "prompts: {nonsense: dataset}\ndeployers: llamacpp\nloads: {concurrency: 1}\n",
            r"c\.yml:1: dataset: the field 'paths' is missing",
        ),
        ("cases: [{deployer: llamacpp, load: {concurrency: 1}}]\n", r"c\.yml:1: a case needs 'prompts'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(write, text, match):
    with pytest.raises(ConfigError, match=match) as caught:
        load_config(write(text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yml does not exist"):
        load_config(tmp_path / "nothing.yml")


def test_secrets_are_not_told(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write("deployers:\n  - endpoint: {url: 'http://x', headers: {Authorization: [hush]}}\n"))
    assert "hush" not in str(caught.value)
