"""A small Llama with random weights and its tokenizer, made here and kept: a real model file without a download."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fmbench import ConfigError

__all__ = ["TinyLlama", "cache_folder", "make_tiny_llama"]

FORMAT = 1
BEGIN, END, USER, ASSISTANT = "<s>", "</s>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class TinyLlama:
    """The model's shape. The default decodes about two thousand tokens a second on one core."""

    vocabulary: int = 4096
    hidden: int = 128
    feed_forward: int = 352
    layers: int = 3
    heads: int = 4
    context: int = 8192
    seed: int = 0
    spread: float = 0.02
    """The weights' standard deviation; a small one makes every token about as likely as any other."""


def cache_folder() -> Path:
    """Where made models are kept: ``$XDG_CACHE_HOME/fmbench``, else ``~/.cache/fmbench``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fmbench"


def make_tiny_llama(folder: Path | None = None, shape: TinyLlama = TinyLlama()) -> Path:
    """Make the model unless it is there already.

    Args:
        folder: Where to keep it; the cache folder by default.
        shape: Its shape.

    Returns:
        A folder with ``model.gguf`` (for llama.cpp), and ``config.json``, ``model.safetensors``, ``tokenizer.json`` and
        ``tokenizer_config.json`` (the same model for transformers).

    Raises:
        ConfigError: the ``local`` extra is not installed, or the folder cannot be written.
    """
    name = "-".join(str(value) for value in asdict(shape).values())
    target = (cache_folder() if folder is None else folder) / f"tiny-llama-{FORMAT}-{name}"
    if (target / "model.gguf").exists():
        return target
    with _folder_beside(target) as making:
        made = Path(making) / "model"
        made.mkdir()
        _write(made, shape)
        try:
            made.rename(target)
        except OSError:
            if not (target / "model.gguf").exists():  # else another process was quicker
                raise
    return target


def _folder_beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-")
    except OSError as error:
        raise ConfigError(
            f"the small model cannot be kept in {target.parent} ({error.strerror}): set XDG_CACHE_HOME to a writable folder"
        ) from error


def _write(folder: Path, shape: TinyLlama) -> None:
    try:
        import gguf  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise ConfigError('making the small model needs the extra "local": pip install "fmbench-harness[local]"') from None
    vocabulary, merges = _train_tokenizer(folder / "tokenizer.json", shape)
    weights = _weights(shape)
    _write_gguf(folder / "model.gguf", shape, weights, vocabulary, merges)
    _write_safetensors(folder / "model.safetensors", weights)
    (folder / "config.json").write_text(json.dumps(_config(shape), indent=2), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _texts() -> Iterator[str]:
    from pydoc_data.topics import topics  # noqa: PLC0415 - half a megabyte of text

    yield from (text for _, text in sorted(topics.items()))


def _train_tokenizer(path: Path, shape: TinyLlama) -> tuple[list[str], list[str]]:
    """A byte-level BPE over the standard library's documentation; its vocabulary in order of ids, and its merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415 - only when made

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=[BEGIN, END, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.save(str(path))
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    vocabulary = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if len(vocabulary) != shape.vocabulary:
        raise ConfigError(f"the text holds only {len(vocabulary)} tokens, not {shape.vocabulary}")
    return vocabulary, [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def _weights(shape: TinyLlama) -> dict[str, Any]:
    """Random weights under the names that transformers gives them."""
    import numpy as np  # noqa: PLC0415 - only when made

    draw = np.random.default_rng(shape.seed)

    def matrix(rows: int, columns: int) -> Any:
        return draw.normal(0, shape.spread, (rows, columns)).astype(np.float32)

    ones = np.ones(shape.hidden, dtype=np.float32)
    weights: dict[str, Any] = {"model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        weights |= {f"{at}.self_attn.{part}_proj.weight": matrix(shape.hidden, shape.hidden) for part in "qkvo"}
        weights |= {f"{at}.mlp.{part}_proj.weight": matrix(shape.feed_forward, shape.hidden) for part in ("gate", "up")}
        weights[f"{at}.mlp.down_proj.weight"] = matrix(shape.hidden, shape.feed_forward)
        weights |= {f"{at}.{part}_layernorm.weight": ones for part in ("input", "post_attention")}
    return weights | {"model.norm.weight": ones, "lm_head.weight": matrix(shape.vocabulary, shape.hidden)}


_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def _gguf_name(name: str) -> str:
    if name.startswith("model.layers."):
        _, _, layer, part = name.removesuffix(".weight").split(".", 3)
        return f"blk.{layer}.{_GGUF_NAMES[part]}.weight"
    outer = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
    return f"{outer[name]}.weight"


def _rotated(weight: Any, heads: int) -> Any:
    """llama.cpp keeps the two halves of each head's rotation beside each other."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _write_gguf(path: Path, shape: TinyLlama, weights: dict[str, Any], vocabulary: list[str], merges: list[str]) -> None:
    import gguf  # noqa: PLC0415 - an extra

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("fmbench tiny llama (random weights)")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    special = {BEGIN, END, USER, ASSISTANT}
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in vocabulary])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocabulary.index(BEGIN))
    writer.add_eos_token_id(vocabulary.index(END))
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for name, weight in weights.items():
        turned = name.endswith(("q_proj.weight", "k_proj.weight"))
        writer.add_tensor(_gguf_name(name), _rotated(weight, shape.heads) if turned else weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_safetensors(path: Path, weights: dict[str, Any]) -> None:
    """The safetensors format: the header's length in eight bytes, a JSON header, the tensors' bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, weight in weights.items():
        header[name] = {"dtype": "F32", "shape": list(weight.shape), "data_offsets": [offset, offset + weight.nbytes]}
        offset += weight.nbytes
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for weight in weights.values():
            file.write(weight.tobytes())


def _config(shape: TinyLlama) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }
