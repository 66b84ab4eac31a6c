"""The configurations of the project's seed, in both of their forms: what to deploy, on which prompts, at which concurrencies.

The first form has ``models`` with one concurrency each and one range of prompt lengths; the second ``experiments`` with
several concurrencies, and ``datasets``, each a range of prompt lengths with a file of requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fmbench.benchmark import Case
from fmbench.config.document import Node, nearest
from fmbench.config.parts import value
from fmbench.config.seed_files import Bucket, SeedFiles
from fmbench.errors import ConfigError, PluginError
from fmbench.load import Concurrency
from fmbench.plugins import DEPLOYERS, PROMPT_SOURCES
from fmbench.types import Parameters

__all__ = ["SEED_KEYS", "seed_arguments"]

DATASET_FOLDER, PROMPTS_FOLDER, TOKENIZER_FOLDER = "data/dataset", "data/prompts", "llama2_tokenizer"
DATA_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
ALL_LENGTHS = (0, 2**31)
PAYLOAD_FILE, ALL_PROMPTS_FILE = "payload_{lang}_{min}-{max}.jsonl", "all_prompts.csv"
PER_INFERENCE_FILE, ALL_METRICS_FILE = "per_inference_request_results_{datetime}.csv", "all_metrics_{datetime}.csv"

_BUCKET = ("language", "min_length_in_tokens", "max_length_in_tokens")
_ENTRY = (
    *("name", "model_id", "model_version", "model_name", "ep_name", "instance_type", "instance_count", "image_uri", "env"),
    *("deploy", "accept_eula"),
)
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "aws": ("region", "sagemaker_execution_role"),
    "dir": ("data", "dataset", "prompts", "models", "metrics"),
    "dataset": ("file",),
    "datasets": (*_BUCKET, "payload_file"),
    "prompt": (*_BUCKET, "template_file", "all_prompts_file"),
    "models": (*_ENTRY, "concurrency"),
    "experiments": (*_ENTRY, "payload_files", "concurrency_levels"),
    "results": ("per_inference_request_file", "all_metrics_file"),
}
SEED_KEYS: tuple[str, ...] = (*_KNOWN, "inference_parameters")
"""The keys of such a file; beside them, some of ``Benchmark``'s own may stand."""


@dataclass(frozen=True, slots=True)
class _Seed:
    """A file, its entries by key, and its folder."""

    document: Node
    folder: Path

    def part(self, key: str) -> Mapping[str, Node]:
        """A mapping's entries; none where the file has none."""
        node = dict(self.document.items()).get(key)
        return {} if node is None else _entries(node, key)

    def list_of(self, key: str) -> list[Mapping[str, Node]]:
        node = dict(self.document.items()).get(key)
        return [] if node is None else [_entries(item, key) for item in node]

    def found(self, node: Node, folders: tuple[str, ...]) -> Path:
        """A file by its name: in one of the seed's folders, else beside the configuration.

        Raises:
            ConfigError: it is in none of them.
        """
        name = _text(node)
        places = [self.folder / place / name for place in (*folders, ".")]
        there = next((place for place in places if place.exists()), None)
        if there is None:
            node.refuse(f"{node.what}: {name} is neither in {' nor in '.join(str(place.parent) for place in places)}")
        return there


class _Range(NamedTuple):
    """A range of prompt lengths, and the file of its requests."""

    language: str | None
    low: int
    high: int
    payload_file: str


def seed_arguments(document: Node) -> dict[str, Any]:
    """``Benchmark``'s arguments.

    Raises:
        ConfigError: something is wrong; the message begins with ``FILE:LINE``.
    """
    seed = _Seed(document, document.file.parent)
    parameters = _parameters(seed)
    ranges = list(_ranges(seed))
    files = _files(seed, parameters, ranges)
    sources = {bucket.payload_file: bucket.source for bucket in files.buckets}
    cases = [
        Case(deployer=deployer, prompts=sources[name], load=Concurrency(level), parameters=parameters)
        for deployer, levels, names in _asked(seed, ranges)
        for level in levels
        for name in names
    ]
    return {"cases": cases, "tokenizer": str(_tokenizer(seed)), "reporters": [files]}


def _parameters(seed: _Seed) -> Parameters:
    node = dict(seed.document.items())["inference_parameters"]
    made: Parameters = value(Parameters, node.what, node, node)
    return made


def _ranges(seed: _Seed) -> Iterator[_Range]:
    """Each range of lengths, once; the first form has one."""
    prompt = seed.part("prompt")
    for entry in seed.list_of("datasets") or [prompt]:
        low, high = (_number(entry, key, default) for key, default in zip(_BUCKET[1:], ALL_LENGTHS, strict=True))
        language = _plain(entry, "language") or _plain(prompt, "language")
        pattern = _plain(entry, "payload_file") or PAYLOAD_FILE
        name = pattern.replace("{lang}", language or "all").replace("{min}", str(low)).replace("{max}", str(high))
        yield _Range(language, low, high, name)


def _files(seed: _Seed, parameters: Parameters, ranges: list[_Range]) -> SeedFiles:
    """The prompts by range, and the files that are to be written of them and of the results."""
    dataset, prompt, results = _dataset(seed), seed.part("prompt"), seed.part("results")
    made: dict[str | None, Mapping[str, Any]] = {}
    for language in dict.fromkeys(one.language for one in ranges):
        spans = [(one.low, one.high) for one in ranges if one.language == language]
        made[language] = dataset(language).split([*dict.fromkeys(spans), ALL_LENGTHS])
    buckets = tuple(
        Bucket(payload_file=one.payload_file, source=_of_span(made[one.language], (one.low, one.high))) for one in ranges
    )
    return SeedFiles(
        buckets=buckets,
        everything=tuple(_of_span(by_name, ALL_LENGTHS) for by_name in made.values()),
        parameters=parameters,
        all_prompts_file=_plain(prompt, "all_prompts_file") or ALL_PROMPTS_FILE,
        per_inference_file=_plain(results, "per_inference_request_file") or PER_INFERENCE_FILE,
        all_metrics_file=_plain(results, "all_metrics_file") or ALL_METRICS_FILE,
    )


def _of_span(by_name: Mapping[str, Any], span: tuple[int, int]) -> Any:
    return next(source for source in by_name.values() if source.tokens == span)


def _dataset(seed: _Seed) -> Any:
    """Makes a source of prompts in a language; all of them read the same files."""
    make = _adapter(seed, PROMPT_SOURCES, "dataset")
    dataset, prompt = seed.part("dataset"), seed.part("prompt")
    folder = _plain(seed.part("dir"), "dataset") or DATASET_FOLDER
    if "template_file" not in prompt:
        seed.document.refuse("prompt: template_file is missing: name the file of the prompt's template")
    prompts_folder = _plain(seed.part("dir"), "prompts") or PROMPTS_FOLDER
    template = seed.found(prompt["template_file"], (prompts_folder, PROMPTS_FOLDER))
    paths = [seed.found(dataset["file"], (folder, DATASET_FOLDER))] if "file" in dataset else _all_data(seed, folder)
    tokenizer = str(_tokenizer(seed))

    def source(language: str | None) -> Any:
        return make(
            [str(path) for path in paths], template=str(template), language=language, tokenizer=tokenizer, seed=None,
            name=language or "all",
        )  # fmt: skip

    return source


def _all_data(seed: _Seed, folder: str) -> list[Path]:
    """Every data file of the seed's folder; where there is none, those beside the configuration, but for what a run wrote."""
    found: list[Path] = []
    for place in dict.fromkeys((seed.folder / folder, seed.folder / DATASET_FOLDER, seed.folder)):
        files = (path for path in sorted(place.glob("*")) if path.suffix.lower() in DATA_ENDINGS and path.is_file())
        found = found or [path for path in files if place != seed.folder or not _is_written(path.name)]
    if not found:
        seed.document.refuse(f"dataset: there is no data file in {seed.folder / folder}, and none beside the configuration")
    return found


def _is_written(name: str) -> bool:
    return name.startswith(("payload", "all_prompts", "all_metrics", "per_inference", "results", "endpoints"))


def _tokenizer(seed: _Seed) -> Path:
    place = seed.folder / TOKENIZER_FOLDER
    if not place.is_dir():
        seed.document.refuse(f"tokenizer: there is no folder {place}: put the tokenizer's files into it")
    return place


def _asked(seed: _Seed, ranges: list[_Range]) -> Iterator[tuple[Any, list[int], list[str]]]:
    """Each deployment with its concurrencies and the files of its requests."""
    entries = [*seed.list_of("models"), *seed.list_of("experiments")]
    if not entries:
        seed.document.refuse("experiments: there are none, and no models either")
    known = list(dict.fromkeys(one.payload_file for one in ranges))
    for entry in entries:
        levels = entry.get("concurrency_levels") or entry.get("concurrency")
        names = [_text(node) for node in entry["payload_files"]] if "payload_files" in entry else known
        for name in names:
            if name not in known:
                entry["payload_files"].refuse(f"payload_files: no entry of datasets makes {name}; {nearest(name, known)}")
        yield _deployer(seed, entry), [1] if levels is None else [_level(node) for node in levels], names


def _deployer(seed: _Seed, entry: Mapping[str, Node]) -> Any:
    """A deployer: JumpStart's, or, with ``deploy: no``, of the endpoint that exists."""
    aws = seed.part("aws")
    name = _plain(entry, "name") or _plain(entry, "ep_name")
    options: dict[str, Any] = {"name": name, "region": _plain(aws, "region")}
    deploys = _value(entry, "deploy", bool, default=True)
    wanted = "model_id" if deploys else "ep_name"
    if wanted not in entry:
        place = next(iter(entry.values()))
        place.refuse(f"{name or 'an experiment'}: {wanted} is missing, which deploy: {'yes' if deploys else 'no'} needs")
    if deploys:
        names = ("instance_type", "instance_count", "image_uri", "env", "accept_eula", "model_version")
        options |= {key: node.value() for key in names if (node := entry.get(key)) is not None}
        options["role"] = _plain(aws, "sagemaker_execution_role")
    make = _adapter(seed, DEPLOYERS, "jumpstart" if deploys else "sagemaker-endpoint")
    try:
        return make(_text(entry[wanted]), **options)
    except (ConfigError, TypeError) as error:
        entry[wanted].refuse(f"{name}: {error}")


def _adapter(seed: _Seed, registry: Any, name: str) -> Any:
    try:
        return registry.load(name)
    except PluginError as error:
        raise type(error)(f"{seed.document.file}: {error}", group=error.group, name=error.name) from error.__cause__


def _entries(node: Node, key: str) -> Mapping[str, Node]:
    entries = dict(node.items())
    for name, inner in entries.items():
        if name not in _KNOWN[key]:
            inner.refuse(f"{key} has no key {name!r}; {nearest(name, _KNOWN[key])}")
    return entries


def _text(node: Node) -> str:
    content = node.value()
    if not isinstance(content, str):
        node.refuse(f"{node.what} must be a text")
    return content


def _plain(entries: Mapping[str, Node], key: str) -> str | None:
    return _text(entries[key]) if key in entries and entries[key].content is not None else None


def _value(entries: Mapping[str, Node], key: str, kind: type, *, default: Any) -> Any:
    if key not in entries:
        return default
    content = entries[key].value()
    if type(content) is not kind:
        entries[key].refuse(f"{key} must be {'yes or no' if kind is bool else 'a whole number'}")
    return content


def _number(entries: Mapping[str, Node], key: str, default: int) -> int:
    number: int = _value(entries, key, int, default=default)
    return number


def _level(node: Node) -> int:
    level: int = _value({node.what: node}, node.what, int, default=1)
    if level < 1:
        node.refuse(f"{node.what} must be 1 or more, not {level}")
    return level
