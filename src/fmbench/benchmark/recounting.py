"""Token counts that no server told, by the tokenizer, once nothing is measured any more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmbench.interfaces import Tokenizer
from fmbench.recording import RECORDS, read_batches, rewrite
from fmbench.recording.columns import column

__all__ = ["recount"]


def recount(directory: Path, tokenizers: Mapping[str, Tokenizer]) -> None:
    """Replace estimates of completions by counts, for the experiments that have a tokenizer.

    Replies whose text was not kept stay estimated.
    """

    def estimated(batch: Any) -> list[int]:
        names = ("experiment", "completion_tokens_source", "completion")
        rows = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
        return [
            index
            for index, (experiment, source, text) in enumerate(rows)
            if source == "estimated" and text is not None and experiment in tokenizers
        ]

    def counted(batch: Any) -> Any:
        tokens, sources = (batch.column(name).to_pylist() for name in ("completion_tokens", "completion_tokens_source"))
        experiments, texts = (batch.column(name).to_pylist() for name in ("experiment", "completion"))
        by_experiment: dict[str, list[int]] = {}
        for index in estimated(batch):
            by_experiment.setdefault(experiments[index], []).append(index)
        for experiment, indices in by_experiment.items():
            for index, count in zip(indices, tokenizers[experiment].count([texts[index] for index in indices]), strict=True):
                tokens[index], sources[index] = count, "tokenizer"
        for name, values in (("completion_tokens", tokens), ("completion_tokens_source", sources)):
            position = batch.schema.get_field_index(name)
            field = batch.schema.field(position)
            batch = batch.set_column(position, field, column(field.type, values))
        return batch

    path = directory / RECORDS
    if tokenizers and any(estimated(batch) for batch in read_batches(path)):
        rewrite(path, counted)
