"""After the last teardown: counts, ``results.csv``, validity, reports, and the result as anyone loads it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from fmbench.benchmark.conducting import Conductor
from fmbench.benchmark.recounting import recount
from fmbench.benchmark.results_file import write_results
from fmbench.benchmark.run_file import RunFile
from fmbench.interfaces import Reporter
from fmbench.result import Result

__all__ = ["conclude"]


def conclude(run_file: RunFile, conductor: Conductor, reporters: Sequence[tuple[str, Reporter]], *, cancelled: bool) -> Result:
    """Finish a run's folder.

    Args:
        run_file: The run.
        conductor: Who ran it.
        reporters: What to write, with the names for their problems.
        cancelled: Whether it was ended from outside; then it can be resumed.
    """
    tokenizers = {name: drawn.tokenizer for name, drawn in conductor.used.items() if drawn.tokenizer is not None}
    recount(run_file.directory, tokenizers)
    run_file.end("cancelled" if cancelled else "finished")
    result = Result.load(run_file.directory)
    write_results(run_file, conductor.used, {experiment.name: experiment.tps for experiment in result.experiments})
    run_file.document["validity"] = [asdict(check) for check in result.validity]
    run_file.save()
    for name, reporter in reporters:
        conductor.tell("reporting", message=name)
        try:
            written = reporter.report(result.reread(), run_file.directory)
        except Exception as error:  # noqa: BLE001 - nothing measured is lost when a reporter fails
            run_file.problem(f"reporter {name}", type(error).__name__, str(error))
            run_file.save()
        else:
            conductor.tell("reported", message=", ".join(str(path) for path in written))
    return result.reread()
