"""Makes the pages whose content the code already holds: the metrics, the checks, the columns, the command line.

python docs/make_tables.py            writes them
python docs/make_tables.py --check    ends with status 1 where one is not up to date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click

from fmbench import PriceBook
from fmbench.cli.main import commands
from fmbench.deployers.sagemaker.catalogue import known_images, known_instances
from fmbench.metrics import METRICS, RULES
from fmbench.result import SUMMARY
from fmbench.simulator.aws import CONTROL_KINDS, RUNTIME_KINDS
from fmbench.simulator.aws.speeds import MADE_UP, served
from fmbench.validity.catalogue import EXPLAINED

HERE = Path(__file__).parent
NOTE = "<!-- Made by docs/make_tables.py out of the code: change it there. -->"
BEGIN, END = "<!-- table: {} -->", "<!-- end of table -->"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def metrics() -> Iterator[str]:
    """The rules, an overview, and each metric."""
    yield from (f"- {rule}" for rule in RULES)
    yield ""
    yield from table(
        ("metric", "unit", "one value for each", "formula"),
        ((f"[`{one.name}`](#{one.name})", one.unit, one.over, f"`{one.formula}`") for one in METRICS),
    )
    for one in METRICS:
        yield from ("", f"## {one.name}", "", one.definition, "", f"*Elsewhere:* {one.peers}")


def checks() -> Iterator[str]:
    """Each check: its question, its limits, why, what to do, and which test holds it."""
    yield from table(
        ("check", "question"),
        (
            *((f"[{one.name}](#{one.name})", one.look.__doc__ or "") for one in EXPLAINED),
            ("shared_host", "Do endpoints share the machine that measures? (One check for the whole run.)"),
        ),
    )
    for one in EXPLAINED:
        yield from ("", f"### {one.name}", "", one.look.__doc__ or "", "", f"- *Limits:* {one.limits}", f"- *Why:* {one.why}")
        yield from (f"- *Remedy:* {one.remedy}", f"- *Held by* `{one.proof}`")


def summary() -> Iterator[str]:
    """The summary's columns."""
    yield from table(("column", "what it holds"), ((f"`{column.name}`", column.meaning) for column in SUMMARY))


def command_line() -> Iterator[str]:
    """What each command says of itself."""
    for name, command in sorted(commands.commands.items()):
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        arguments = [parameter.human_readable_name for parameter in command.params if isinstance(parameter, click.Argument)]
        yield from ("", f"## fmbench {name}", "", f"`{' '.join(['fmbench', name, *arguments])}`", "", command.help or "", "")
        yield from table(("option", "meaning"), ((f"`{', '.join(one.opts)}`", one.help or "") for one in options))


def offline_faults() -> Iterator[str]:
    """What can go wrong in the offline AWS."""
    yield from table(("fault", "in the control plane"), ((f"`{kind}`", told) for kind, told in CONTROL_KINDS.items()))
    yield ""
    yield from table(("fault", "at invocations"), ((f"`{kind}`", told) for kind, told in RUNTIME_KINDS.items()))


def offline_speeds() -> Iterator[str]:
    """How fast the offline AWS serves a 7B model."""
    container = {"Environment": {"HF_MODEL_ID": "any/model-7b"}}
    alike: dict[tuple[str, ...], list[str]] = {}
    for kind, device in MADE_UP.items():
        does = served(kind, container, 1.0)
        if does.failure is None:
            step, prompt = does.service.decode_seconds * 1e3, does.service.prefill_tokens_per_second
            row = (str(device.accelerators), f"{step:.1f}", f"{prompt:,.0f}", str(does.service.batch_limit))
            alike.setdefault(row, []).append(f"`{kind}`")
    yield from table(
        ("instance type", "accelerators", "decode step, ms", "prompt, tokens/s", "batch limit"),
        ((", ".join(kinds), *row) for row, kinds in alike.items()),
    )


def prices() -> Iterator[str]:
    """The price book."""
    rows = PriceBook.shipped().rows()
    notes = (f"{one.source}; {one.note}" if one.note else str(one.source) for one in rows)
    told = ((one.region, f"`{one.instance_type}`", f"{one.usd_per_hour:g}", str(one.retrieved)) for one in rows)
    agreed = ("yes" if one.verified else "no" for one in rows)
    yield from table(
        ("region", "instance type", "USD an hour", "read on", "a second source agrees", "where"),
        ((*four, second, note) for four, second, note in zip(told, agreed, notes, strict=True)),
    )


def images() -> Iterator[str]:
    """The images that are known."""
    yield from table(
        ("engine", "for", "image", "where it was read"),
        ((one["engine"], one["accelerator"], f"`{one['repository']}:{one['tag']}`", one["source"]) for one in known_images()),
    )


def instances() -> Iterator[str]:
    """Instance types with accelerators."""
    yield from table(
        ("instance type", "accelerator", "GPUs or NeuronCores", "tensor-parallel degrees"),
        (
            (f"`{one.name}`", one.device, str(one.cores), ", ".join(map(str, one.degrees)) or "those that divide it")
            for one in known_instances()
        ),
    )


TABLES: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "metrics": ("metrics.md", metrics),
    "checks": ("validity.md", checks),
    "summary": ("files.md", summary),
    "commands": ("command-line.md", command_line),
    "offline-faults": ("offline-aws.md", offline_faults),
    "offline-speeds": ("offline-aws.md", offline_speeds),
    "prices": ("sagemaker.md", prices),
    "images": ("sagemaker.md", images),
    "instances": ("sagemaker.md", instances),
}


def filled(page: str, name: str, lines: Iterable[str]) -> str:
    """A page with its table made anew."""
    before, _, rest = page.partition(BEGIN.format(name) + "\n")
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"the page lacks {BEGIN.format(name)} … {END}")
    return before + "\n".join((BEGIN.format(name), NOTE, "", *lines, "")).rstrip("\n") + "\n\n" + END + after


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description="Make the tables that the code already holds.")
    parser.add_argument("--check", action="store_true", help="write nothing; end with status 1 where a page is not up to date")
    only_check = parser.parse_args().check
    stale = 0
    for name, (file, make) in TABLES.items():
        path = HERE / file
        page = path.read_text(encoding="utf-8")
        made = filled(page, name, make())
        if made == page:
            continue
        stale += 1
        if not only_check:
            path.write_text(made, encoding="utf-8")
        print(f"{path.name} {'is not up to date: run python docs/make_tables.py' if only_check else 'written'}")
    return 1 if only_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
