"""``fmbench compare`` as a gate in CI."""

import json
import random
import shutil

import pytest
from click.testing import CliRunner

from fmbench.cli.main import commands, main

MS = 1_000_000


@pytest.fixture
def runs(write_run, tmp_path_factory):
    """Runs of one workload: three before, three after by half slower; one of another load; one that came not up."""
    folder = tmp_path_factory.mktemp("runs")

    def write(name, seed, slower=1.0, n=1, **entry):
        noise, clock, records = random.Random(seed), 0, []
        for number in range(140):
            times = [clock + round((100 + 20 * token) * MS * slower * noise.uniform(0.95, 1.05)) for token in range(5)]
            seen = {"due_ns": clock, "sent_ns": clock, "arrivals_ns": times, "last_token_ns": times[-1], "end_ns": times[-1]}
            seen |= dict.fromkeys(("first_byte_ns", "first_token_ns"), times[0])
            records.append(write_run.reply("one", number, n, **seen, last_byte_ns=times[-1]))
            clock = times[-1]
        entries = [write_run.entry("one" if n == 1 else "other", n, 140, windows=[[0, clock]]) | entry]
        path = write_run(records if not entry else [], experiments=entries)
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.move(path, folder / name)

    for seed in (1, 2, 3):
        write(f"before/{seed}", seed)
        write(f"after/{seed}", seed + 10, slower=1.5)
    write("other", 7, n=3)
    write("down", 8, status="not_sent", reason="no quota", windows=[])
    return folder


def compared(*arguments):
    return CliRunner().invoke(commands, ["compare", *map(str, arguments)])


def test_a_regression_beyond_the_margin_gives_status_1(runs):
    done = compared(runs / "before/1", runs / "after/1", "--margin", "5%")
    assert done.exit_code == 1
    assert done.output.startswith("Worse by more than 5%: ")
    assert "tpot p50 (s)" in done.output
    assert max(map(len, done.output.splitlines()[2:14])) <= 80


def test_no_regression_gives_status_0_and_better_is_none(runs):
    assert compared(runs / "before/1", runs / "before/2").exit_code == 0
    better = compared(runs / "after/1", runs / "before/1", "--json", "--metric", "tps", "--metric", "tpot_p50")
    assert better.exit_code == 0
    told = json.loads(better.stdout)
    assert told["verdict"] == "better"
    assert [one["metric"] for one in told["differences"]] == ["tps", "tpot_p50"]


def test_a_folder_of_runs_is_runs_repeated(runs):
    done = compared(runs / "before", runs / "after", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert len(told["baseline"]) == len(told["candidate"]) == 3
    assert told["differences"][0]["runs"] == [3, 3]


def test_a_candidate_that_was_not_measured_does_not_pass(runs):
    assert compared(runs / "before/1", runs / "down").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("before/1", "other"), "differ in load n (1 against 3)"),
        (("before/1", "nothing"), "is not a folder"),
        (("before/1", "after/1", "--margin", "five"), "'five' is no share"),
        (("before/1", "after/1", "--metric", "speed"), "metric: 'speed' is not known"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(runs, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(runs)
    monkeypatch.setattr("sys.argv", ["fmbench", "compare", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_one_name_with_two_workloads_is_told_with_the_option_that_goes_on(runs, tmp_path, capsys, monkeypatch):
    shutil.copytree(runs / "before/1", tmp_path / "changed")
    document = json.loads((tmp_path / "changed/run.json").read_text())
    document["experiments"][0]["parameters"]["max_new_tokens"] = 7
    (tmp_path / "changed/run.json").write_text(json.dumps(document))
    monkeypatch.setattr("sys.argv", ["fmbench", "compare", str(runs / "before/1"), str(tmp_path / "changed")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "max_new_tokens (5 against 7); to compare all the same: --unequal" in capsys.readouterr().err
    assert compared(runs / "before/1", tmp_path / "changed", "--unequal").exit_code == 0


def advised(*arguments):
    return CliRunner().invoke(commands, ["advise", *map(str, arguments), "--slo", "latency_p95_seconds=5"])


def test_advice_can_be_had_at_other_prices_and_for_a_table_of_rates(runs):
    before = json.loads((runs / "before/1/run.json").read_text())
    done = advised(runs / "before/1", "--price", "engine=2.5", "--price-multiplier", "0.5", "--requests-per-minute", "60,6000")
    assert done.exit_code == 0
    assert "(1.25 USD/h)*" in done.output
    told = json.loads(advised(runs / "before/1", "--price", "engine=1,10", "--json").stdout)
    assert told["candidates"][0]["usd_per_1000_requests"] == pytest.approx((50 * 1 + 5 * 10) / 1e6 * 1000)
    assert json.loads((runs / "before/1/run.json").read_text()) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--price", "engine"), "is no NAME=USD_PER_HOUR"),
        (("--price", "motor=1"), "'motor' is no deployment or instance type of this run; there are: engine"),
        (("--requests-per-minute", "60,many"), "is no rate, such as 600"),
        (("--requests-per-minute", "0"), "requests_per_minute must be a number above 0, not 0"),
        (("--price-multiplier", "0"), "multiplier"),
    ],
)
def test_a_price_or_a_rate_that_is_none_is_one_line(runs, monkeypatch, capsys, options, told):
    monkeypatch.setattr("sys.argv", ["fmbench", "advise", str(runs / "before/1"), "--slo", "latency_p95_seconds=5", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
