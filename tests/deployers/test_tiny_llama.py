"""The small model is one model in both its files, made once, whoever asks."""

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import anyio
import numpy as np
import pytest
from tokenizers import Tokenizer

from fmbench import ConfigError, Run
from fmbench.deployers import LlamaCpp
from fmbench.deployers.tiny_llama import TinyLlama, make_tiny_llama
from fmbench.wire import connect

pytest.importorskip("xllamacpp", reason="the local extra is not installed")
pytest.importorskip("gguf", reason="the local extra is not installed")
SMALL = TinyLlama(vocabulary=600, hidden=32, feed_forward=64, layers=2, heads=2, context=256)


def ask(model, body, tmp_path):
    async def main():
        run = Run(name="t", directory=tmp_path, tags={})
        async with LlamaCpp(model).deploy(run) as endpoint, connect(endpoint.url) as client:
            head, reply = await client.fetch("POST", "/completion", body=json.dumps(body).encode())
            assert head.status == 200, reply
            return json.loads(reply)

    return anyio.run(main)


def read_safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__")
    body = data[8 + size :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], dtype=np.float32).reshape(entry["shape"])
        for name, entry in header.items()
    }


def normed(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def rotated(x):
    """Rotary positions as transformers applies them: the first half of a head turned with its second half."""
    length, _, size = x.shape
    angles = np.arange(length)[:, None] * 10000.0 ** (-np.arange(0, size, 2) / size)
    cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
    a, b = x[..., : size // 2], x[..., size // 2 :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def probabilities(weights, shape, ids):
    """A Llama's next-token probabilities, by its definition, from the file for transformers."""
    x = weights["model.embed_tokens.weight"][ids]
    length, size = len(ids), shape.hidden // shape.heads
    for layer in range(shape.layers):
        w = {name.split(".", 3)[3]: weight for name, weight in weights.items() if name.startswith(f"model.layers.{layer}.")}
        h = normed(x, w["input_layernorm.weight"])
        q, k, v = ((h @ w[f"self_attn.{part}_proj.weight"].T).reshape(length, shape.heads, size) for part in "qkv")
        scores = np.einsum("qhd,khd->hqk", rotated(q), rotated(k)) / np.sqrt(size)
        scores[:, np.triu(np.ones((length, length), dtype=bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), v).reshape(length, -1)
        x = x + mixed @ w["self_attn.o_proj.weight"].T
        h = normed(x, w["post_attention_layernorm.weight"])
        gate = h @ w["mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["mlp.up_proj.weight"].T)) @ w["mlp.down_proj.weight"].T
    logits = normed(x[-1], weights["model.norm.weight"]) @ weights["lm_head.weight"].T
    exponents = np.exp(logits - logits.max())
    return exponents / exponents.sum()


def test_llamacpp_and_the_definition_agree_on_what_comes_next(tmp_path):
    """The file for llama.cpp and the file for transformers hold one model and one tokenizer."""
    # A shape of its own with bigger weights, so that positions and attention matter to the outcome.
    folder = make_tiny_llama(tmp_path, replace(SMALL, spread=0.5))
    text = "The assert statement is a convenient way to insert debugging assertions"
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    expected = probabilities(read_safetensors(folder / "model.safetensors"), SMALL, ids)
    reply = ask(folder / "model.gguf", {"prompt": text, "n_predict": 1, "n_probs": 20, "temperature": 0}, tmp_path)
    assert reply["tokens_evaluated"] == len(ids)
    told = {entry["id"]: np.exp(entry["logprob"]) for entry in reply["completion_probabilities"][0]["top_logprobs"]}
    assert set(list(told)[:5]) == set(np.argsort(-expected)[:5])
    for token, probability in told.items():
        assert probability == pytest.approx(expected[token], rel=0.02)


def test_most_of_what_it_says_is_text(tmp_path):
    folder = make_tiny_llama()
    reply = ask(folder / "model.gguf", {"prompt": "Question:", "n_predict": 200, "ignore_eos": True, "seed": 1}, tmp_path)
    assert reply["tokens_predicted"] == 200
    said = reply["content"]
    assert len(said) > 400
    assert said.count("\N{REPLACEMENT CHARACTER}") < 0.05 * len(said)


def test_several_processes_may_make_it_at_once(tmp_path):
    script = textwrap.dedent(f"""
        from pathlib import Path
        from fmbench.deployers.tiny_llama import TinyLlama, make_tiny_llama
        print(make_tiny_llama(Path({str(tmp_path)!r}), {SMALL!r}))
    """)
    makers = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    folders = {maker.communicate()[0].strip() for maker in makers}
    assert [maker.returncode for maker in makers] == [0, 0, 0]
    assert [str(path) for path in tmp_path.iterdir()] == list(folders)


def test_a_cache_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be kept in .*: set XDG_CACHE_HOME to a writable folder"):
        make_tiny_llama(tmp_path / "file", SMALL)


def test_the_cache_folder_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert make_tiny_llama(shape=SMALL).parent == tmp_path / "fmbench"
