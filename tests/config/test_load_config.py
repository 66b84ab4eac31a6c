"""YAML in, Benchmark out; whatever is wrong is one line with its place."""

import sys
import textwrap

import pytest

from fmbench import (
    SLO,
    Benchmark,
    Concurrency,
    ConfigError,
    ConstantRate,
    Gamma,
    PluginBroken,
    Poisson,
    Ramp,
    Replay,
    load_config,
)
from fmbench.config.document import Node
from fmbench.config.kinds import annotations_of
from fmbench.config.reading import _READERS, _readers
from fmbench.deployers import LlamaCpp
from fmbench.invokers import OpenAI
from fmbench.plugins import PROMPT_SOURCES

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


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ("gamma: {per_second: 2, shape: 0.5}", Gamma(2, 0.5)),
        ("ramp: {start_per_second: 1, end_per_second: 9, seconds: 60}", Ramp(1, 9, seconds=60)),
        ("replay", Replay()),
        ("replay: {speed: 2, from_seconds: 60, max_concurrency: 8}", Replay(2, 60, max_concurrency=8)),
        ("constant_rate: 3", ConstantRate(3)),
    ],
)
def test_every_load_has_a_name(tmp_path, text, load):
    path = tmp_path / "c.yml"
    path.write_text(f"deployers: {{endpoint: 'http://h:1'}}\nprompts: {{dataset: q.jsonl}}\nloads:\n- {text}\n")
    assert [one.load for one in load_config(path)._asked] == [load]


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
        ("deployers:\n  - llamacpp:\n      slots: many\n", r"c\.yml:3: llamacpp: slots: should be a valid integer"),
        ("deployers:\n  - endpoint: {model: m}\n", r"c\.yml:2: endpoint: the field 'url' is missing"),
        ("deployers:\n  - endpoint: {url: ftp://x}\n", r"c\.yml:2: endpoint: url: must be http"),
        ("loads: [{concurency: 1}]\n", r"c\.yml:1: there is no load called 'concurency'; did you mean 'concurrency'\?"),
        ("loads:\n- concurrency: 0\n", r"c\.yml:2: concurrency: concurrency must be 1 or more, not 0"),
        ("loads:\n- poisson: {seed: 1}\n", r"c\.yml:2: poisson: the field 'per_second' is missing"),
        ("loads: [{concurrency: 1, poisson: 2}]\n",
         r"c\.yml:1: loads: a load is one name with its fields, .*, not 2 names \(concurrency, poisson\)"),
        ("parameters: {max_tokens: 3}\n", r"c\.yml:1: parameters has no field 'max_tokens'; did you mean 'max_new_tokens'\?"),
        ("slo: {latency_q95_seconds: 3}\n", r"c\.yml:1: slo: .*latency_p9"),
        ("name: a\nname: b\n", r"c\.yml:2: the document: 'name' stands twice \(first in line 1\)"),
        ("name: [a\n", r"c\.yml:2: not YAML"),
        ("", r"c\.yml is empty"),
        ("- a\n", r"c\.yml:1: the document must be a mapping"),
        ("name: x\n", r"c\.yml: deployers is missing"),
        (
            "max_usd: 1\ndeployers: {endpoint: 'http://x'}\nprompts: {dataset: a}\nloads: {concurrency: 1}\n",
            r"c\.yml:1: max_usd: the price of x is not known: give it usd_per_hour=",
        ),
        ("aws: {}\ninference_parameters: {}\n", r"c\.yml:1: prompt: template_file is missing"),
        (
            "prompts: {nonsense: dataset}\ndeployers: llamacpp\nloads: {concurrency: 1}\n",
            r"c\.yml:1: dataset: the field 'paths' is missing",
        ),
        ("cases: [{deployer: llamacpp, load: {concurrency: 1}}]\n", r"c\.yml:1: a case needs 'prompts'"),
        ("cases:\n  - deployer: llamacpp\n    prompts: {dataset: a}\n    laod: 1\n    load: {concurrency: 1}\n",
         r"c\.yml:4: a case has no 'laod'; did you mean 'load'\?"),
        ("name: x\ndeployrs:\n\n  - llamacpp\n", r"c\.yml:2: there is no key 'deployrs'"),
        ("name: 3\n", r"c\.yml:1: name must be a text, not a whole number"),
        ("max_hours: two\n", r"c\.yml:1: max_hours must be a number, not a text"),
        ("keep_text: 'no'\n", r"c\.yml:1: keep_text must be true or false, not a text"),
        ("warmup: yes\n", r"c\.yml:1: warmup must be a whole number, not a truth value"),
        ("stop_on_errors: 2.5\n", r"c\.yml:1: stop_on_errors must be a whole number, not a number"),
        ("max_hours: yes\n", r"c\.yml:1: max_hours must be a number, not a truth value"),
        ("loads:\n  - concurrency: 1\n  - 4\n", r"c\.yml:3: loads: a load is a name"),
        ("deployers: {endpoint: {url: 'ftp://x', model: [a]}}\n", r"c\.yml:1: endpoint: url: must be http[^;]*$"),
        ("cases: [{deployer: llamacpp, prompts: {dataset: a}, load: {concurrency: 1}, parameters: [{seed: 1}]}]\n",
         r"c\.yml:1: parameters must be a mapping \(name: value\), not a list"),
        ("columns: [1]\n", r"c\.yml:1: columns must be a list of texts, not a list"),
        ("tokenizer: [a]\n", r"c\.yml:1: tokenizer must be a text, not a list"),
        ("slo:\n", r"c\.yml:1: slo must be a mapping, such as \{latency_p95_seconds: 5\}, not nothing"),
        ("slo:\n  ttft_p99_seconds: 1\n  latency_p95_seconds: soon\n", r"c\.yml:3: latency_p95_seconds must be a number"),
        ("slo:\n  ttft_p99_seconds: 1\n  latency_q95_seconds: 1\n", r"c\.yml:3: slo: 'latency_q95_seconds' is no limit"),
        ("slo: latency_p95=5\n", r"c\.yml:1: slo: 'latency_p95' is no limit"),
        ("loads:\n  - concurrency:\n      n: '4'\n",
         r"c\.yml:3: n must be a whole number, not a text; YAML wants a number without"),
        ("loads: [{concurrency: yes}]\n", r"c\.yml:1: n must be a whole number, not a truth value"),
        ("loads: [{concurrency: 2.5}]\n", r"c\.yml:1: n must be a whole number, not a number"),
        ("loads: [{poisson: 1e1}]\n", r"c\.yml:1: per_second must be a number, not a text; .* as in 1\.0e\+3"),
        ("loads: [4]\n", r"c\.yml:1: loads: a load is a name, or \{name: \{its fields\}\}, not a whole number"),
        ("parameters:\n  top_p: 0.5\n  temperature: hot\n", r"c\.yml:3: temperature must be a number, not a text"),
        ("parameters: {stop: [1]}\n", r"c\.yml:1: stop must be a list of texts, not a list"),
        ("parameters: 100\n", r"c\.yml:1: parameters must be a mapping \(name: value\), not a whole number"),
        ("parameters: {truncate: short}\n", r"c\.yml:1: parameters: truncate must be a number of tokens or"),
        ("prompts: {datasett: {paths: x}}\n", r"c\.yml:1: there is no prompt source called 'datasett'; did you mean 'dataset'"),
        ("prompts:\n  long: {datasett: {paths: x}}\n", r"c\.yml:2: there is no prompt source called 'datasett'; did you"),
        ("deployers:\n  endpoint:\n    url: http://x\n    invoker: {openai: {api: chatt}}\n",
         r"c\.yml:4: openai: api: should be 'chat'"),
        ("deployers:\n  endpoint:\n    url: http://x\n    invoker: opnai\n", r"c\.yml:4: there is no invoker called 'opnai'"),
        ("deployers: {endpoint: {url: http://x, model: [a]}}\n",
         r"c\.yml:1: endpoint: model: should be a valid string; write it in"),
        ("deployers:\n  endpoint:\n    url: http://x\n    headers:\n      a: b\n      c: [d]\n",
         r"c\.yml:6: endpoint: headers\.c: "),
        ("invoker: {openai: chat}\n", r"c\.yml:1: openai: give its fields as a mapping \(field: value\), not as a text"),
        ("reporters: [3]\n", r"c\.yml:1: reporters: a reporter is a name"),
        ("loads: []\ndeployers: {endpoint: 'http://x'}\nprompts: {dataset: a}\n", r"c\.yml:1: loads is empty"),
        ("deployers: {endpoint: {url: 'http://x', facts: {no: 1}}}\n",
         r"c\.yml:1: facts: YAML reads the key no as a truth value: write it in quotes"),
        ("deployers: {endpoint: {url: 'http://x', facts: {[a]: 1}}}\n", r"c\.yml:1: facts: a key must be a word, not a list"),
        ("name: 010\n", r"c\.yml:1: name: YAML reads 010 as another number: write it in quotes"),
        ("max_hours: 1:30\n", r"c\.yml:1: max_hours: YAML reads 1:30 as another number"),
        ("name: 2024-13-45\n", r"c\.yml:1: name: .*write it in quotes if it is meant as text"),
        ("name: !!python/object/apply:os.getcwd []\n", r"c\.yml:1: name: the tag .*os\.getcwd is not known here"),
        ("name: !secret x\n", r"c\.yml:1: name: the tag !secret is not known here"),
        ("columns: &a [*a]\n", r"c\.yml:1: columns: an alias stands within what it is an alias of"),
        ("name: a\n---\nname: b\n", r"c\.yml:2: not YAML: but found another document"),
        ("name: \x07\n", r"c\.yml: not YAML: unacceptable character"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(write, text, match):
    with pytest.raises(ConfigError, match=match) as caught:
        load_config(write(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "form", ["deployers:\n  - endpoint: {url: 'http://x', invoker: openai}\n", "invoker: {openai: {api: chat}}\n"]
)
def test_an_invoker_may_stand_with_the_endpoint_or_with_the_benchmark(write, form):
    rest = "prompts: {dataset: qa.jsonl}\nloads: concurrency: 4\n".replace("loads: concurrency: 4", "loads: {concurrency: 4}")
    rest += "" if form.startswith("deployers") else "deployers: {endpoint: 'http://x'}\n"
    [asked] = load_config(write(form + rest))._asked
    invoker = asked.invoker or asked.deployment.deployer.invoker
    assert invoker == OpenAI(api="chat")


def test_the_shortest_forms(write, tmp_path):
    (tmp_path / "home").mkdir()
    text = """
        deployers: {endpoint: {url: "http://x", tokenizer: tok}}
        prompts: [{dataset: [a.jsonl, /abs/b.jsonl, "s3://bucket/c.jsonl"]}]
        loads: {constant_rate: 3}
        columns: endpoint.EndpointName
        parameters: [{temperature: 0, stop: "\\n"}, {temperature: 1, stop: [a, b]}]
        slo: latency_p95_seconds=5,ttft_p99_seconds=1
        tokenizer: null
    """
    benchmark = load_config(write(text))
    first, second = benchmark._asked
    assert first.load == ConstantRate(3)
    assert first.prompts.source.paths == [str(tmp_path / "a.jsonl"), "/abs/b.jsonl", "s3://bucket/c.jsonl"]
    assert first.deployment.deployer.tokenizer == str(tmp_path / "tok")
    assert benchmark._columns == ("endpoint.EndpointName",)
    assert (first.parameters.stop, second.parameters.stop) == (["\n"], ["a", "b"])
    assert benchmark.slo == SLO(latency_p95_seconds=5, ttft_p99_seconds=1)


@pytest.mark.parametrize(
    ("prompts", "names"),
    [
        ("{dataset2: {dataset: a}}", ["dataset2"]),
        ("{dataset2: {dataset: a}, dataset3: {dataset: b}}", ["dataset2", "dataset3"]),
        ("{qa: {dataset: {paths: a}}}", ["qa"]),
        ("{dataset: {paths: a, name: mine}}", ["mine"]),
    ],
)
def test_prompt_sets_may_have_names(write, prompts, names):
    benchmark = load_config(write(f"deployers: {{endpoint: 'http://x'}}\nprompts: {prompts}\nloads: {{concurrency: 1}}\n"))
    assert [one.prompts.name for one in benchmark._asked] == names


def test_nothing_given_is_the_default(write):
    text = """
        deployers:
          - llamacpp:
          - endpoint: {url: "http://x", invoker: null, name: "010"}
        prompts: {dataset: {paths: a, template: "one\\ntwo"}}
        loads: {concurrency: 1}
        invoker:
    """
    first, second = load_config(write(text))._asked
    assert first.deployment.deployer == LlamaCpp()
    assert (second.invoker, second.deployment.deployer.invoker, second.deployment.name) == (None, None, "010")
    assert first.prompts.source.template == "one\ntwo"


def test_a_home_folder_is_known(write, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    text = "deployers: {endpoint: 'http://x'}\nprompts: {dataset: ~/a.jsonl}\nloads: {concurrency: 1}\n"
    assert load_config(write(text))._asked[0].prompts.source.paths == str(tmp_path / "home" / "a.jsonl")


def test_anchors_and_merges_are_taken_apart(write):
    text = """
        deployers: {endpoint: "http://x"}
        prompts: {dataset: a}
        loads:
          - concurrency: &first {n: 4, requests: 200}
          - concurrency: {<<: *first, n: 5}
          - concurrency: {<<: [{n: 6}, *first]}
    """
    assert [one.load for one in load_config(write(text))._asked] == [
        Concurrency(4, requests=200),
        Concurrency(5, requests=200),
        Concurrency(6, requests=200),
    ]


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "c.yml").write_bytes(b"\xef\xbb\xbfname: a\n")
    with pytest.raises(ConfigError, match=r"c\.yml: deployers is missing"):
        load_config(tmp_path / "c.yml")


def test_a_file_that_is_no_text_and_a_folder_are_told(tmp_path):
    (tmp_path / "c.yml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yml is not UTF-8 text \(byte 6\)"):
        load_config(tmp_path / "c.yml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_every_parameter_of_benchmark_is_a_key_with_a_kind(write):
    known = _readers(Benchmark, _READERS)
    for name, annotation in annotations_of(Benchmark).items():
        if name not in _READERS:
            with pytest.raises(ConfigError, match=f"{name} must be "):
                known[name](Node(write(""), 1, name, {"a": Node(write(""), 1, "a", object())})), annotation


class TestStrangers:
    """Adapters that are no pydantic dataclasses, from a distribution of the test's."""

    @pytest.fixture(autouse=True)
    def installed(self, tmp_path, monkeypatch):
        info = tmp_path / "stranger-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
        names = "plain = strange_module:Plain\nfree = strange_module:free\nbroken = no_such_module:X\n"
        (info / "entry_points.txt").write_text(f"[fmbench.prompt_sources]\n{names}", encoding="utf-8")
        module = """
            class Plain:
                path_fields = ("file",)

                def __init__(self, file, *, count=1):
                    if count < 1:
                        raise ValueError("count must be\\n1 or more")
                    self.file, self.count = file, count

                def __iter__(self):
                    return iter(())

            def free(**options):
                return list(options.items())
        """
        (tmp_path / "strange_module.py").write_text(textwrap.dedent(module), encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        yield
        vars(PROMPT_SOURCES).pop("_found", None)  # what it found is gone after this test
        monkeypatch.delitem(sys.modules, "strange_module", raising=False)

    REST = "deployers: {endpoint: 'http://x'}\nloads: {concurrency: 1}\n"

    def test_its_fields_and_paths_are_known(self, write, tmp_path):
        source = load_config(write(f"{self.REST}prompts: {{plain: {{file: a, count: 3}}}}\n"))._asked[0].prompts.source
        assert (source.file, source.count) == (str(tmp_path / "a"), 3)

    @pytest.mark.parametrize(
        ("prompts", "match"),
        [
            ("{plain: {fil: a}}", r"c\.yml:3: plain has no field 'fil'; did you mean 'file'\?"),
            ("plain", r"c\.yml:3: plain: the field 'file' is missing"),
            ("{plain: {file: a, count: 0}}", r"c\.yml:3: plain: count must be 1 or more"),
            ("{plain: {file: a, count: b}}", r"c\.yml:3: plain: '<' not supported"),
        ],
    )
    def test_its_mistakes_are_told_with_their_place(self, write, prompts, match):
        with pytest.raises(ConfigError, match=match):
            load_config(write(f"{self.REST}prompts: {prompts}\n"))

    def test_a_callable_may_take_any_field(self, write):
        source = load_config(write(f"{self.REST}prompts: {{free: {{a: 1, b: [2]}}}}\n"))._asked[0].prompts.source
        assert source == [("a", 1), ("b", [2])]

    def test_a_broken_one_is_told_with_its_place(self, write):
        with pytest.raises(PluginBroken, match=r"c\.yml:3: the prompt source 'broken' of stranger cannot be imported"):
            load_config(write(f"{self.REST}prompts: broken\n"))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yml does not exist"):
        load_config(tmp_path / "nothing.yml")


def test_secrets_are_not_told(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write("deployers:\n  - endpoint: {url: 'http://x', headers: {Authorization: [hush]}}\n"))
    assert "hush" not in str(caught.value)
