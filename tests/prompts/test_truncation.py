"""Truncation, whatever the text, the tokenizer and the server: each prompt's own length, a number as it is, or nothing."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from fmbench import ConfigError, Parameters, Prompt
from fmbench.invokers import OpenAI
from fmbench.invokers.payloads import payload_in
from fmbench.invokers.profiles import PROFILES
from fmbench.prompts import Dataset

AT = "at-prompt-token-length"
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=60)
PROMPTS = st.builds(Prompt, id=st.just("p"), text=TEXTS, tokens=st.none() | st.integers(0, 10**6))
WORDS = {name: profile.truncate for name, profile in PROFILES.items()}


@given(texts=st.lists(TEXTS, min_size=1, max_size=5), kind=st.sampled_from(["byte_level_bpe", "word_piece", "unigram"]))
@settings(max_examples=60, deadline=None)
def test_a_prompts_own_length_is_what_its_tokenizer_counts_special_tokens_included(
    tmp_path_factory, tokenizer_folders, texts, kind
):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts), encoding="utf-8")
    folder = tokenizer_folders[kind]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts = list(Dataset(path, tokenizer=folder, seed=None))
    assert len(prompts) == len(texts)
    for prompt in prompts:
        assert Parameters(truncate=AT).truncation(prompt) == len(tokenizer.encode(prompt.text).ids)


@given(prompt=PROMPTS, asked=st.none() | st.just(AT) | st.integers(1, 10**6))
def test_what_is_asked_for_is_what_a_prompt_gets(prompt, asked):
    parameters = Parameters(truncate=asked)
    if asked == AT and prompt.tokens is None:
        with pytest.raises(ConfigError, match="give tokenizer="):
            parameters.truncation(prompt)
        return
    assert parameters.truncation(prompt) == (prompt.tokens if asked == AT else asked)


@given(prompt=PROMPTS, asked=st.none() | st.just(AT) | st.integers(1, 10**6), name=st.sampled_from(sorted(WORDS)))
def test_every_server_is_told_in_its_own_word_or_the_parameter_is_refused(prompt, asked, name):
    parameters = Parameters(truncate=asked)
    if asked is not None and WORDS[name] is None:
        with pytest.raises(ConfigError, match="truncate"):
            OpenAI(profile=name).check(parameters)
        return
    OpenAI(profile=name).check(parameters)
    if asked == AT and prompt.tokens is None:
        return
    told = {} if asked is None else {WORDS[name]: prompt.tokens if asked == AT else asked}
    assert PROFILES[name].fields(prompt, parameters) == told


@given(prompt=PROMPTS, asked=st.none() | st.just(AT) | st.integers(1, 10**6), dialect=st.sampled_from(["tgi", "lmi"]))
def test_text_generating_containers_get_it_as_the_seed_sent_it(prompt, asked, dialect):
    if asked == AT and prompt.tokens is None:
        return
    payload = payload_in(dialect, prompt, Parameters(truncate=asked))
    assert payload["inputs"] == prompt.text
    assert payload["parameters"].get("truncate") == (prompt.tokens if asked == AT else asked)


@given(asked=st.text(max_size=30).filter(lambda text: text != AT))
def test_another_word_is_refused(asked):
    with pytest.raises(ConfigError, match="truncate must be a number of tokens or"):
        Parameters(truncate=asked)
