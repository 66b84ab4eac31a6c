"""Made-up prompts have exactly the length asked for, whatever the tokenizer, and no two begin alike unless asked."""

import math
import random
import statistics
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from fmbench import Benchmark, Concurrency, ConfigError, Parameters, load_config
from fmbench.prompts import PROFILES, LogNormal, Normal, Synthetic, Uniform
from fmbench.prompts.lengths import lengths_of
from fmbench.recording import read_table
from fmbench.testing import check_prompt_source


class Words:
    """A tokenizer of words."""

    def count(self, texts):
        return [len(text.split()) for text in texts]


def encoded(folder, prompts):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.encode(prompt.text) for prompt in prompts]


@pytest.mark.parametrize("kind", ["byte_level_bpe", "word_piece", "unigram", "characters"])
@pytest.mark.parametrize("length", [12, (40, 300)])
def test_lengths_are_exact_for_every_kind_of_tokenizer(tokenizer_folders, kind, length):
    prompts = list(Synthetic(prompt_tokens=length, output_tokens=7, count=60, tokenizer=tokenizer_folders[kind]))
    got = [len(encoding.ids) for encoding in encoded(tokenizer_folders[kind], prompts)]
    assert got == [prompt.tokens for prompt in prompts]
    if length == 12:
        assert set(got) == {12}
    else:
        assert 40 <= min(got) < max(got) <= 300
    assert {prompt.max_new_tokens for prompt in prompts} == {7}
    assert len({prompt.text for prompt in prompts}) == 60


@pytest.mark.filterwarnings("default")
def test_lengths_are_exact_after_the_chat_template(chat_folder):
    transformers = pytest.importorskip("transformers", reason="the transformers extra is not installed")
    prompts = list(Synthetic(prompt_tokens=(30, 90), output_tokens=7, count=40, tokenizer=chat_folder, shared_prefix_tokens=9))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(str(chat_folder))
    got = [
        len(theirs.apply_chat_template(list(prompt.messages), add_generation_prompt=True)["input_ids"]) for prompt in prompts
    ]
    assert got == [prompt.tokens for prompt in prompts]
    assert {prompt.text for prompt in Synthetic(prompt_tokens=9, output_tokens=7, tokenizer=chat_folder, chat=False)} != {None}


def test_the_same_seed_gives_the_same_prompts_and_another_others():
    options = {"prompt_tokens": (5, 50), "output_tokens": (1, 9), "count": 20, "tokenizer": Words()}
    one, same, other = (list(Synthetic(**options, seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert not {prompt.text for prompt in one} & {prompt.text for prompt in other}
    check_prompt_source(Synthetic(**options))


def test_without_a_shared_prefix_no_two_have_a_block_in_common(tokenizer_folders):
    folder = tokenizer_folders["byte_level_bpe"]
    prompts = list(Synthetic(prompt_tokens=80, output_tokens=1, count=300, tokenizer=folder))
    assert len({tuple(encoding.ids[:16]) for encoding in encoded(folder, prompts)}) == 300


@pytest.mark.parametrize("kind", ["byte_level_bpe", "word_piece", "unigram"])
def test_prompts_of_one_prefix_have_that_many_tokens_in_common(tokenizer_folders, kind):
    folder = tokenizer_folders[kind]
    prompts = list(
        Synthetic(prompt_tokens=90, output_tokens=1, count=60, tokenizer=folder, shared_prefix_tokens=50, prefix_pool=3)
    )
    groups = {}
    for prompt, encoding in zip(prompts, encoded(folder, prompts), strict=True):
        groups.setdefault(prompt.labels["prefix"], []).append(encoding.ids)
    assert set(groups) == {0, 1, 2}
    for ids in groups.values():
        common = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*ids, strict=True)))
        assert 50 <= common <= 54  # special tokens, and words that happen to begin alike
    assert len({tuple(ids[0][:50]) for ids in groups.values()}) == 3
    assert {len(ids) for group in groups.values() for ids in group} == {90}


@settings(max_examples=50)
@given(low=st.integers(1, 500), width=st.sampled_from([0, 100, 500]), seed=st.integers(0, 9))
def test_a_range_includes_both_ends_and_a_distribution_keeps_to_its_own(low, width, seed):
    draw = random.Random(seed)
    lengths = [
        lengths_of((low, low + width), "x"),
        lengths_of({"normal": {"mean": low + width / 2, "std": width, "low": low, "high": low + width}}, "x"),
        lengths_of({"lognormal": {"median": low + width / 2, "sigma": 0.5, "low": low, "high": low + width}}, "x"),
    ]
    for one in lengths:
        assert all(low <= one.draw(draw) <= low + width for _ in range(20))


def test_distributions_have_the_moments_they_say():
    draw = random.Random(0)
    normal = [Normal(mean=500, std=50).draw(draw) for _ in range(4000)]
    assert statistics.fmean(normal) == pytest.approx(500, rel=0.01)
    assert statistics.stdev(normal) == pytest.approx(50, rel=0.05)
    lognormal = [LogNormal(median=500, sigma=0.5).draw(draw) for _ in range(4000)]
    assert statistics.median(lognormal) == pytest.approx(500, rel=0.05)
    assert statistics.stdev(map(math.log, lognormal)) == pytest.approx(0.5, rel=0.05)
    assert {Uniform(1, 3).draw(draw) for _ in range(100)} == {1, 2, 3}


@pytest.mark.parametrize(
    ("name", "median", "p90"), [("chat", 1730, 5696), ("summarise", 7059, 12985), ("code", 857, 5342), ("rag", 3214, 4087)]
)
def test_profiles_have_the_published_figures(name, median, p90):
    draw = random.Random(0)
    lengths = sorted(PROFILES[name].prompt_tokens.draw(draw) for _ in range(8000))
    assert lengths[4000] == pytest.approx(median, rel=0.06)
    assert lengths[7200] == pytest.approx(p90, rel=0.08)


def test_every_profile_names_its_source_and_can_be_drawn():
    assert set(PROFILES) == {"chat", "rag", "code", "summarise"}
    for name, profile in PROFILES.items():
        assert "arXiv" in profile.source or "OSDI" in profile.source
        assert len(list(Synthetic(profile=name, count=3, tokenizer=Words()))) == 3


def test_a_mix_keeps_pairs_together_and_their_weights():
    mix = [{"prompt_tokens": 10, "output_tokens": 90, "weight": 3}, {"prompt_tokens": [20, 30], "output_tokens": 5}]
    prompts = list(Synthetic(mix=mix, count=400, tokenizer=Words()))
    assert {prompt.max_new_tokens for prompt in prompts if prompt.tokens == 10} == {90}
    assert {prompt.max_new_tokens for prompt in prompts if prompt.tokens >= 20} == {5}
    assert 260 < sum(prompt.tokens == 10 for prompt in prompts) < 340


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "give one of: prompt_tokens and output_tokens, profile, mix"),
        ({"prompt_tokens": 5}, "give both prompt_tokens and output_tokens"),
        ({"prompt_tokens": 5, "output_tokens": 5, "profile": "chat"}, "give one of"),
        ({"prompt_tokens": 0, "output_tokens": 5}, "prompt_tokens: 0 to 0 tokens is no range"),
        ({"prompt_tokens": (9, 5), "output_tokens": 5}, "9 to 5 tokens is no range"),
        ({"prompt_tokens": {"zipf": 1}, "output_tokens": 5}, "is no length: give a number"),
        ({"prompt_tokens": {"normal": {"mean": 5, "std": -1}}, "output_tokens": 5}, "std must be 0 or more"),
        ({"mix": [{"prompt_tokens": 5}]}, "mix: .* is no pair"),
        ({"mix": [{"prompt_tokens": 5, "output_tokens": 5, "weight": 0}]}, "weight must be above 0"),
    ],
)
def test_wrong_lengths_are_told_in_one_line(options, match):
    with pytest.raises(ValueError, match=match):
        Synthetic(**options, tokenizer=Words())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tokenizer": None}, "give tokenizer="),
        ({"count": 5000}, "there are not 5000 different prompts of 1 tokens"),
        ({"shared_prefix_tokens": 1}, "its shared prefix alone takes 1"),
        ({"chat": True}, "has no count_messages"),
    ],
)
def test_what_cannot_be_written_is_told(options, match):
    with pytest.raises(ConfigError, match=match):
        list(Synthetic(**({"prompt_tokens": 1, "output_tokens": 1, "tokenizer": Words()} | options)))


def test_yaml_has_it(tmp_path):
    (tmp_path / "c.yml").write_text(
        "deployers: {endpoint: {url: 'http://127.0.0.1:1'}}\nloads: {concurrency: 1}\n"
        "prompts: {synthetic: {prompt_tokens: {lognormal: {median: 50, sigma: 0.5}}, output_tokens: [5, 9], count: 3}}\n",
        encoding="utf-8",
    )
    [one] = load_config(tmp_path / "c.yml")._asked
    assert one.prompts.source == Synthetic(prompt_tokens=LogNormal(median=50, sigma=0.5), output_tokens=(5, 9), count=3)


@pytest.mark.filterwarnings("default")
def test_llama_cpp_counts_the_same_and_writes_as_many_as_forced(tmp_path):
    pytest.importorskip("xllamacpp", reason="the local extra is not installed")
    pytest.importorskip("transformers", reason="the transformers extra is not installed")
    from fmbench.deployers import LlamaCpp

    Benchmark(
        deployers=LlamaCpp(slots=2),
        prompts=Synthetic(prompt_tokens=(40, 200), output_tokens=(3, 12), count=20),
        loads=Concurrency(2, requests=20),
        parameters=Parameters(force_length=True, temperature=1.0),
    ).run(tmp_path / "run")
    rows = [row for row in read_table(tmp_path / "run").to_pylist() if row["phase"] == "measured"]
    from fmbench import load_tokenizer
    from fmbench.deployers.tiny_llama import make_tiny_llama

    wanted = {
        prompt.id: (prompt.tokens, prompt.max_new_tokens)
        for prompt in Synthetic(
            prompt_tokens=(40, 200), output_tokens=(3, 12), count=20, tokenizer=load_tokenizer(make_tiny_llama())
        )
    }
    assert {row["prompt_id"]: (row["prompt_tokens"], row["completion_tokens"]) for row in rows} == wanted
    assert {row["prompt_tokens_source"] for row in rows} == {"server"}
    assert {row["finish_reason"] for row in rows} == {"length"}
