"""Several processes share one plan: what is sent when does not depend on their number, and none can lose what it wrote."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fmbench import Benchmark, Concurrency, ConfigError, ConstantRate, Gamma, Poisson, Prompt, Ramp, Replay, Result
from fmbench.engine import Assignment
from fmbench.recording import read_table
from fmbench.testing import FakeServer
from fmbench.testing.in_process import Echo, InProcess
from fmbench.workers.lost import records_of_lost

PROMPTS = [Prompt(id=f"p{number}", text=f"word number {number}", at_seconds=number / 50) for number in range(40)]


def benchmark(loads, *, workers=2, invoker=None, **more):
    fields = {"prompts": PROMPTS, "workers": workers, "warmup": 3, "drain_seconds": 5, **more}
    return Benchmark(deployers=InProcess(invoker=invoker or Echo()), loads=loads, **fields)


def rows(directory):
    return sorted(read_table(directory).to_pylist(), key=lambda row: row["id"])


def document(directory):
    return json.loads((directory / "run.json").read_text(encoding="utf-8"))


def statuses(directory):
    found = [row["status"] for row in read_table(directory).to_pylist()]
    return {status: found.count(status) for status in sorted(set(found))}


def accounting(directory):
    return {check.verdict for check in Result.load(directory).validity if check.name == "accounting"}


def children_of(pid):
    listing = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listing.splitlines()]
    return [int(child) for child, parent, stat in found if int(parent) == pid and not stat.startswith("Z")]


def workers_of(pid):
    return [child for child in children_of(pid) if "fmbench.workers" in command_of(child)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


# One plan.

OPEN = [ConstantRate(200), Poisson(200, seed=4), Gamma(200, 0.5, seed=4), Ramp(50, 300, seed=4), Replay(speed=2)]


def share(load, worker, workers, **more):
    return Assignment(
        experiment="e", id_prefix="r", load=load, prompts=PROMPTS, requests=(), warmup=7, origin_ns=0, estimate=len,
        worker=worker, workers=workers, **more,
    )  # fmt: skip


@pytest.mark.parametrize("load", OPEN, ids=str)
@pytest.mark.parametrize("workers", [2, 3, 4, 10])
def test_the_shares_of_an_open_plan_make_up_the_whole(load, workers):
    plan = list(load.plan(PROMPTS, warmup=7))
    shares = [[planned for planned in plan if share(load, worker, workers).owns(planned)] for worker in range(workers)]
    assert sorted(planned for one in shares for planned in one) == plan
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("workers", [2, 3, 4, 10])
def test_places_and_streams_are_dealt_out_whole(workers):
    assert sum(share(Poisson(9, max_concurrency=17), worker, workers).max_concurrency for worker in range(workers)) == 17
    assert sum(share(Concurrency(11), worker, workers).concurrency for worker in range(workers)) == 11


def test_what_is_sent_when_is_the_same_with_one_worker_and_with_three(tmp_path):
    loads = [Poisson(150, seed=4, seconds=1), Concurrency(4, requests=40), ConstantRate(100, requests=50, max_concurrency=7)]
    for workers in (1, 3):
        benchmark(loads, workers=workers).run(tmp_path / str(workers))
    one, three = rows(tmp_path / "1"), rows(tmp_path / "3")
    assert {row["worker"] for row in three} == {0, 1, 2}
    assert [(row["id"].split("-", 1)[1], row["prompt_id"], row["phase"], row["status"]) for row in one] == [
        (row["id"].split("-", 1)[1], row["prompt_id"], row["phase"], row["status"]) for row in three
    ]
    due = [[row["due_ns"] for row in run if row["id"].split("-")[1] == "000"] for run in (one, three)]
    assert [later - earlier for earlier, later in pairwise(due[0])] == [later - earlier for earlier, later in pairwise(due[1])]
    assert accounting(tmp_path / "3") == {"pass"}
    assert (tmp_path / "1" / "payload.jsonl").read_text() == (tmp_path / "3" / "payload.jsonl").read_text()
    assert [path.name for path in (tmp_path / "3").glob("records*")] == ["records.arrow"]
    for entry in document(tmp_path / "3")["experiments"]:
        assert [worker["worker"] for worker in entry["workers"]] == [0, 1, 2]
        assert all(worker["cpu"]["process_seconds"] > 0 and worker["died"] is None for worker in entry["workers"])
    assert workers_of(os.getpid()) == []


def test_a_closed_load_ends_for_all_workers_at_once(tmp_path):
    benchmark(Concurrency(5, seconds=1)).run(tmp_path / "r")
    [entry] = document(tmp_path / "r")["experiments"]
    [[start, end]] = entry["windows"]
    assert end - start == 1_000_000_000
    assert {row["worker"] for row in rows(tmp_path / "r")} == {0, 1}
    assert accounting(tmp_path / "r") == {"pass"}


def test_no_more_workers_than_streams(tmp_path):
    benchmark(Concurrency(1, requests=5), workers=3).run(tmp_path / "r")
    assert len(document(tmp_path / "r")["experiments"][0]["workers"]) == 1


def test_records_and_progress_are_told_as_they_come(tmp_path):
    told, news = [], []
    benchmark(Concurrency(4, requests=40)).run(tmp_path / "r", on_record=told.append, on_progress=news.append)
    assert sorted(record.id for record in told) == [row["id"] for row in rows(tmp_path / "r")]
    assert all(record.arrivals_ns for record in told)
    assert [one.done for one in news if one.event == "measured"] == [43]


def test_an_experiment_whose_first_requests_all_fail_stops_in_every_worker(tmp_path):
    invoker = Echo(ttft_seconds=0.1, fail_kind="server")
    result = benchmark(Concurrency(4, requests=400), invoker=invoker, stop_on_errors=8).run(tmp_path / "r")
    assert "requests all failed; the last one: it was asked to fail" in result.experiments[0].reason
    assert statuses(tmp_path / "r")["not_sent"] > 200
    assert len(rows(tmp_path / "r")) == 403
    assert accounting(tmp_path / "r") == {"pass"}


def test_a_session_that_cannot_be_opened_in_a_worker_costs_its_experiment_alone(tmp_path):
    from fmbench.deployers import ExistingEndpoint

    deployers = [ExistingEndpoint("http://127.0.0.1:9", model="m", name="a", invoker=refusing()), InProcess(name="b")]
    result = Benchmark(deployers=deployers, prompts=PROMPTS, loads=Concurrency(2, requests=9), workers=2).run(tmp_path / "r")
    assert [one.status for one in result.experiments] == ["not_sent", "measured"]
    assert accounting(tmp_path / "r") == {"pass"}


def refusing():
    """An invoker that a worker can load, and that cannot connect there: a file in place of an address."""
    from fmbench.invokers import OpenAI

    return OpenAI(extra={"messages": "not for an adapter to say"})


# Ends.


def test_a_worker_that_dies_is_told_and_the_others_go_on(tmp_path):
    killed = []

    def news(one):
        if one.event == "progress" and one.done > 20 and not killed:
            killed.append(workers_of(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    result = benchmark(ConstantRate(100, seconds=4)).run(tmp_path / "r", on_progress=news)
    found = rows(tmp_path / "r")
    assert [row["id"][-6:] for row in found] == [f"{number:06d}" for number in range(403)]
    [entry] = document(tmp_path / "r")["experiments"]
    [dead] = [worker for worker in entry["workers"] if worker["died"]]
    assert dead["died"] == "was killed by signal 9"
    assert dead["pid"] == killed[0]
    lost = [row for row in found if row["error_kind"] == "worker"]
    unsent = [row for row in found if row["status"] == "not_sent"]
    assert {row["worker"] for row in (*lost, *unsent)} == {dead["worker"]}
    assert len(unsent) > 50
    assert all(row["due_ns"] < min(other["due_ns"] for other in unsent) for row in lost)
    assert sum(row["status"] == "ok" for row in found if row["worker"] != dead["worker"]) > 195
    assert sum(row["status"] == "ok" for row in found if row["worker"] == dead["worker"]) > 5
    assert [problem["kind"] for problem in document(tmp_path / "r")["problems"]] == ["worker"]
    assert "was killed by signal 9" in result.problems[0]["message"]
    assert accounting(tmp_path / "r") == {"pass"}


def test_a_dead_worker_is_replaced_for_the_next_experiment(tmp_path):
    killed = []

    def news(one):
        if one.event == "progress" and not killed:
            killed.append(workers_of(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    loads = [ConstantRate(50, seconds=2), ConstantRate(51, seconds=1)]
    benchmark(loads).run(tmp_path / "r", on_progress=news)
    first, second = document(tmp_path / "r")["experiments"]
    assert [bool(worker["died"]) for worker in first["workers"]].count(True) == 1
    assert [worker["died"] for worker in second["workers"]] == [None, None]


@pytest.mark.parametrize(
    ("load", "recorded", "expected"),
    [
        (ConstantRate(10, requests=6), {1}, [(3, "error"), (5, "error"), (7, "not_sent"), (9, "not_sent"), (11, "not_sent")]),
        (Concurrency(2, requests=4), {1, 3}, [(5, "error"), (7, "not_sent"), (9, "not_sent")]),
        (Concurrency(2, seconds=4), {1, 3}, [(5, "error")]),
    ],
    ids=str,
)
def test_what_a_dead_worker_leaves_is_accounted_for(load, recorded, expected):
    lost = records_of_lost(share(load, 1, 2), recorded, begin=0, died=550_000_000, how="was killed by signal 9")
    assert [(int(record.id.rsplit("-", 1)[1]), record.status) for record in lost] == expected
    assert all("worker 1 was killed by signal 9 before" in record.error_message for record in lost)


def test_cancelling_ends_the_workers_and_keeps_what_they_wrote(tmp_path):
    events = []

    def news(one):
        events.append(one)
        if one.event == "progress" and one.done > 20:
            signal.raise_signal(signal.SIGINT)

    # Raised in fmbench's thread, it interrupts this one, which waits.
    started = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        benchmark(Concurrency(4, requests=4000)).run(tmp_path / "r", on_progress=news)
    assert workers_of(os.getpid()) == []
    assert threading.active_count() == started
    assert statuses(tmp_path / "r")["ok"] > 20
    assert document(tmp_path / "r")["state"] == "cancelled"
    assert [path.name for path in (tmp_path / "r").glob("records*")] == ["records.arrow"]


KILLED = textwrap.dedent("""
    import sys
    from fmbench import Benchmark, Concurrency, ConstantRate, Prompt
    from fmbench.deployers import ExistingEndpoint
    from fmbench.invokers import OpenAI

    if __name__ == "__main__":
        Benchmark(
            deployers=ExistingEndpoint(sys.argv[1], model="m"), invoker=OpenAI(), workers=2,
            prompts=[Prompt(id=str(number), text="a b c") for number in range(20)],
            loads=[ConstantRate(40, requests=160), Concurrency(2, requests=30)],
        ).run(sys.argv[2], resume=sys.argv[3] == "resume")
""")


def test_a_kill_of_the_parent_ends_the_workers_and_resuming_doubles_nothing(tmp_path):
    script, directory = tmp_path / "script.py", tmp_path / "r"
    script.write_text(KILLED, encoding="utf-8")
    with FakeServer(ttft_seconds=0.01) as server:
        command = [sys.executable, str(script), server.url, str(directory)]
        parent = subprocess.Popen([*command, "fresh"])
        part = directory / "records-1.arrow"
        await_until(lambda: part.exists() and part.stat().st_size > 10_000)
        workers = workers_of(parent.pid)
        parent.kill()
        parent.wait()
        assert len(workers) == 2
        await_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        kept = set(read_table(directory)["id"].to_pylist())
        assert len(kept) > 10
        assert len(Result.load(directory).records) == len(kept)
        assert subprocess.run([*command, "resume"], check=False, timeout=60).returncode == 0
    ids = [row["id"] for row in rows(directory)]
    assert len(ids) == len(set(ids)) == 170 + 32
    assert kept <= set(ids)
    assert accounting(directory) == {"pass"}
    assert [path.name for path in directory.glob("records*")] == ["records.arrow"]


def await_until(true, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


# What cannot travel.


@pytest.mark.parametrize("workers", [0, -1])
def test_a_number_of_workers_that_makes_no_sense_is_refused(workers):
    with pytest.raises(ConfigError, match="workers must be 1 or more"):
        benchmark(Concurrency(1), workers=workers)


def test_an_invoker_that_cannot_be_pickled_is_refused_at_once():
    with pytest.raises(ConfigError, match="workers: the invoker of in-process, concurrency 1 cannot be pickled"):
        benchmark(Concurrency(1), invoker=Echo(fail_kind=lambda: None))
    benchmark(Concurrency(1), workers=1, invoker=Echo(fail_kind=lambda: None))


def test_prompts_that_cannot_be_pickled_are_refused_at_once():
    with pytest.raises(ConfigError, match="workers: prompts 'prompts' cannot be pickled"):
        benchmark(Concurrency(1), prompts=[Prompt(id="p", text="x", labels={"lock": threading.Lock()})])


OWN = textwrap.dedent("""
    import sys
    from dataclasses import dataclass
    from fmbench import Benchmark, Concurrency, FmbenchError, Prompt
    from fmbench.testing.in_process import Echo, InProcess

    @dataclass(frozen=True)
    class Own(Echo):
        pass

    def main():
        prompts = [Prompt(id="p", text="a b")]
        try:
            bench = Benchmark(
                deployers=InProcess(), invoker=Own(), workers=2, prompts=prompts, loads=Concurrency(2, requests=4)
            )
            result = bench.run(sys.argv[1])
        except FmbenchError as error:
            sys.exit(f"{type(error).__name__}: {error}")
        print(result.experiments[0].status, sorted(set(result.records.worker)))
""")
GUARD = '\nif __name__ == "__main__":\n    main()\n'


def ran(tmp_path, text, *, at_prompt=False):
    script = tmp_path / "script.py"
    script.write_text(text, encoding="utf-8")
    start = ["-c", text] if at_prompt else [str(script)]
    command = [sys.executable, *start, str(tmp_path / "r")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip(), done.stderr.strip()


def test_an_invoker_that_the_program_itself_defines_travels(tmp_path):
    assert ran(tmp_path, OWN + GUARD) == ("measured [0, 1]", "")


def test_a_program_that_begins_a_run_when_imported_is_told_how_to_mend_it(tmp_path):
    _, said = ran(tmp_path, OWN + "\nmain()\n")
    assert "this program begins a run when it is imported; put that under if __name__ == '__main__':" in said
    assert not (tmp_path / "r" / "run.json").exists()


def test_what_is_defined_at_a_prompt_cannot_travel(tmp_path):
    _, said = ran(tmp_path, OWN + GUARD, at_prompt=True)
    assert said == (
        "ConfigError: workers: the invoker of in-process, concurrency 2 is defined at a prompt or in a notebook; "
        "put it into a module, or set workers=1"
    )
