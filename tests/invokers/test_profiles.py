"""Each kind of server is told parameters in its own words; what it has no word for is refused."""

import base64
import json

import pytest

from fmbench import Benchmark, Concurrency, ConfigError, Endpoint, Head, InvokeError, Parameters, Prompt
from fmbench.deployers import ExistingEndpoint
from fmbench.invokers import OpenAI
from fmbench.invokers.embeddings import EmbeddingDecoder
from fmbench.invokers.failures import Failures
from fmbench.invokers.openai import OpenAISession
from fmbench.invokers.profiles import PROFILES

EVERYTHING = Parameters(
    max_new_tokens=9, temperature=0.5, top_p=0.9, top_k=5, stop=["x"], seed=1, do_sample=True, force_length=True,
    truncate="at-prompt-token-length",
)  # fmt: skip
SHARED = {"temperature": 0.5, "top_p": 0.9, "stop": ["x"], "seed": 1}
PROMPT = Prompt(id="p", text="hi", tokens=7)


class NoClient:
    """Encoding needs a client for the HTTP head only."""

    def prepare(self, method, path, *, body):
        return path, json.loads(body)


def encoded(prompt=PROMPT, parameters=EVERYTHING, **options):
    session = OpenAISession(OpenAI(**options), Endpoint(name="e", url="http://x", model="m"), NoClient(), Failures())
    path, body = session.encode(prompt, parameters).body
    return path, {name: value for name, value in body.items() if name not in {"model", "messages", "stream", "stream_options"}}


@pytest.mark.parametrize(
    ("profile", "own"),
    [
        ("any", {"max_tokens": 9, "top_k": 5, "truncate_prompt_tokens": 7}),
        ("vllm", {"max_tokens": 9, "top_k": 5, "truncate_prompt_tokens": 7, "ignore_eos": True, "min_tokens": 9}),
        ("tensorrt-llm", {"max_tokens": 9, "top_k": 5, "truncate_prompt_tokens": 7, "ignore_eos": True, "min_tokens": 9}),
    ],
)
def test_everything_is_said_in_the_servers_words(profile, own):
    assert encoded(profile=profile) == ("/v1/chat/completions", SHARED | own)


@pytest.mark.parametrize(
    ("profile", "left_out", "own"),
    [
        ("openai", {"top_k", "truncate"}, {"max_completion_tokens": 9}),
        ("tgi", {"top_k", "truncate"}, {"max_tokens": 9}),
        ("sglang", {"truncate"}, {"max_tokens": 9, "top_k": 5, "ignore_eos": True}),
        ("llamacpp", {"truncate"}, {"max_tokens": 9, "top_k": 5, "ignore_eos": True}),
        (
            "transformers",
            {"truncate"},
            {"max_tokens": 9, "generation_config": '{"do_sample":true,"top_k":5,"min_new_tokens":9}'},
        ),
    ],
)
def test_what_a_server_has_no_word_for_is_refused_and_not_dropped(profile, left_out, own):
    given = EVERYTHING.given()
    rest = Parameters(**{name: value for name, value in given.items() if name not in left_out})
    assert encoded(profile=profile, parameters=rest)[1] == SHARED | own
    for name in left_out:
        with pytest.raises(ConfigError, match=rf"^{name}: profile '{profile}' has no word for it"):
            encoded(profile=profile, parameters=Parameters(**{name: given[name]}))


def test_every_profile_is_tried_here():
    tried = {"any", "vllm", "tensorrt-llm", "openai", "tgi", "sglang", "llamacpp", "transformers"}
    assert set(PROFILES) == tried


def test_the_newer_name_of_the_longest_reply_is_chats_alone():
    assert encoded(profile="openai", api="completions", parameters=Parameters(max_new_tokens=3))[1] == {
        "prompt": "hi",
        "max_tokens": 3,
    }


def test_greedy_decoding_is_a_temperature_of_nought_and_a_prompts_own_length_wins():
    prompt = Prompt(id="p", text="hi", max_new_tokens=4)
    parameters = Parameters(max_new_tokens=9, temperature=0.7, do_sample=False, force_length=True)
    assert encoded(prompt, parameters, profile="vllm")[1] == {
        "max_tokens": 4, "temperature": 0, "ignore_eos": True, "min_tokens": 4,
    }  # fmt: skip


def test_truncating_at_a_length_that_nobody_counted_is_refused_and_a_number_passes():
    uncounted = Prompt(id="p", text="hi")
    with pytest.raises(
        ConfigError, match=r"truncate='at-prompt-token-length': the length of prompt 'p' is not known; give tok"
    ):
        encoded(uncounted, Parameters(truncate="at-prompt-token-length"))
    assert encoded(uncounted, Parameters(truncate=11))[1] == {"truncate_prompt_tokens": 11}


def test_it_is_refused_before_anything_is_deployed_where_the_invoker_is_known():
    endpoint = ExistingEndpoint("http://127.0.0.1:1", name="e")
    with pytest.raises(ConfigError, match=r"^top_k: profile 'openai'"):
        Benchmark(
            deployers=endpoint, prompts=[PROMPT], loads=Concurrency(1), invoker=OpenAI(profile="openai"),
            parameters=[Parameters(), Parameters(top_k=3)],
        )  # fmt: skip


def test_parameters_are_an_axis_and_experiments_are_named_by_what_differs():
    endpoint = ExistingEndpoint("http://127.0.0.1:1", name="e")
    several = [Parameters(max_new_tokens=9, temperature=0.1), Parameters(max_new_tokens=9, temperature=0.9, top_p=0.5)]
    benchmark = Benchmark(deployers=endpoint, prompts=[PROMPT], loads=Concurrency(1), parameters=several)
    assert [one.name for one in benchmark._asked] == [
        "e, concurrency 1, temperature=0.1",
        "e, concurrency 1, temperature=0.9 top_p=0.5",
    ]


def image_prompt(url):
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]
    return Prompt(id="i", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}])


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_an_image_that_is_a_file_travels_as_a_data_url(tmp_path, form):
    file = tmp_path / "a cat.png"
    file.write_bytes(b"\x89PNG it is")
    url = form.format(str(file).replace(" ", "%20") if "file" in form else file)
    session = OpenAISession(OpenAI(), Endpoint(name="e", url="http://x"), NoClient(), Failures())
    messages = session.encode(image_prompt(url), Parameters()).payload["messages"]
    sent = messages[1]["content"][1]["image_url"]
    assert sent == {"url": f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}", "detail": "low"}
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert messages[1]["content"][0] == {"type": "text", "text": "What is this?"}


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "https://example.org/a.png"])
def test_other_addresses_of_images_stay(url):
    prompt = image_prompt(url)
    session = OpenAISession(OpenAI(), Endpoint(name="e", url="http://x"), NoClient(), Failures())
    assert session.encode(prompt, Parameters()).payload["messages"] == list(prompt.messages)


@pytest.mark.parametrize(
    ("url", "match"), [("nothing.png", r"nothing\.png cannot be read: No such file"), ("a.txt", "does not end like an image's")]
)
def test_what_is_no_image_is_told(url, match):
    session = OpenAISession(OpenAI(), Endpoint(name="e", url="http://x"), NoClient(), Failures())
    with pytest.raises(ConfigError, match=match):
        session.encode(image_prompt(url), Parameters())


def test_embeddings_are_asked_for_with_the_text_alone():
    prompt = Prompt(id="p", text="hi", max_new_tokens=5)
    assert encoded(prompt, Parameters(), api="embeddings") == ("/v1/embeddings", {"input": "hi"})
    with pytest.raises(ConfigError, match="temperature: nothing is generated"):
        encoded(parameters=Parameters(temperature=1), api="embeddings")
    with pytest.raises(ConfigError, match='api="embeddings" cannot send'):
        encoded(Prompt(id="p", messages=[]), Parameters(), api="embeddings")


def decoded(body, status=200):
    decoder = EmbeddingDecoder(Failures())
    decoder.feed(body[:5])
    decoder.feed(body[5:])
    return decoder.close(Head(status, {}))


def test_a_reply_with_embeddings_has_a_length_of_the_prompt_and_no_tokens():
    body = {"model": "e5", "data": [{"embedding": [0.1, 0.2]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    reply = decoded(json.dumps(body).encode())
    assert (reply.streamed, list(reply.deltas), reply.model, reply.usage.prompt_tokens) == (False, [], "e5", 3)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"<html>", 200, "decode"),
        (b'{"data": []}', 200, "decode"),
        (b"[1, 2, 3]", 200, "decode"),
        (b'{"error": {"message": "no such model"}}', 200, "model_error"),
        (b'{"error": {"message": "slow down"}}', 429, "throttled"),
    ],
)
def test_a_reply_without_embeddings_is_an_error(body, status, kind):
    with pytest.raises(InvokeError) as caught:
        decoded(body, status)
    assert caught.value.kind == kind
