"""A short calibration on this machine, whatever it says; how it is shown, and with which exit status."""

import json
import os
import re
from dataclasses import replace
from functools import partial

import pytest
from click.testing import CliRunner

import fmbench.calibration
from fmbench.calibration import Budget, calibrate
from fmbench.calibration.page import headline, signed, write_calibration
from fmbench.cli.main import commands

LENIENT, STRICT = Budget(median_seconds=60, p99_seconds=60, coalesced_share=1), Budget(p99_seconds=0, lateness_seconds=60)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    made = calibrate(tmp_path_factory.mktemp("calibration") / "r", streams=(1, 4), seconds=0.5, flood_seconds=0.5)
    assert cores is None or os.sched_getaffinity(0) == cores
    return made


def test_every_level_and_both_floods_are_measured(calibration):
    assert [level.streams for level in calibration.levels] == [1, 4]
    for level in calibration.levels:
        assert level.failed == 0
        assert level.requests >= level.streams
        for spread in (level.ttft_error, level.itl_error, level.latency_error, level.client_delay, level.server_lateness):
            assert spread is not None
            assert len(spread.values) >= level.requests - level.unknown_ttft
        # The way there and back is in it, so it cannot be negative; a little may be the clocks' mapping.
        assert level.latency_error.values.min() > -50e-6
        assert level.server_lateness.values.min() >= 0
    assert [one.what for one in calibration.capacities] == ["requests", "tokens"]
    assert all(one.per_second > 0 and one.client_cores > 0 for one in calibration.capacities)
    assert all(one.per_core >= one.per_second * 0.5 for one in calibration.capacities)


def test_client_and_server_are_kept_apart_where_they_can_be(calibration):
    cores = calibration.cores
    if cores.client is None:
        pytest.skip("there is one core")
    assert cores.client != cores.server


def test_the_page_and_the_numbers_are_written(calibration):
    page, data = write_calibration(calibration)
    told = json.loads(data.read_text(encoding="utf-8"))
    assert [level["streams"] for level in told["levels"]] == [1, 4]
    assert told["levels"][1]["ttft_error"]["count"] == len(calibration.levels[1].ttft_error.values)
    assert told["met"] is calibration.met
    text = page.read_text(encoding="utf-8")
    assert headline(calibration) in text
    assert len(re.findall("<svg ", text)) == 8
    assert "http://" not in re.sub(r'xmlns\S*="[^"]*"', "", text)
    assert "nan" not in re.findall(r"<td[^>]*>([^<]*)</td>", text)


def test_what_came_out_is_said_in_a_sentence(calibration):
    assert "meets the error budget at 1 and 4 streams." in headline(replace(calibration, budget=LENIENT))
    assert "misses the error budget at 1 and 4 streams." in headline(replace(calibration, budget=STRICT))
    nothing = replace(calibration, budget=replace(STRICT, lateness_seconds=0))
    assert "Nothing can be told" in headline(nothing)
    assert [signed(value) for value in (None, 1e-9, -0.0012)] == ["–", "<0.100\u00a0µs", "−1.20\u00a0ms"]  # noqa: RUF001


@pytest.mark.parametrize(("budget", "status"), [(LENIENT, 0), (STRICT, 1)])
@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_says_so_too(calibration, monkeypatch, budget, status, as_json):
    asked = []

    def made(directory, **options):
        asked.append((directory, options))
        return replace(calibration, budget=budget)

    monkeypatch.setattr(fmbench.calibration, "calibrate", made)
    out = calibration.directory
    done = CliRunner().invoke(commands, ["calibrate", "--out", str(out), *(["--json"] if as_json else [])])
    assert done.exit_code == status, done.output
    assert asked[0][0] == out
    if as_json:
        assert json.loads(done.stdout)["met"] is (status == 0)
    else:
        assert "Reported minus true (ms)" in done.stdout
        assert headline(replace(calibration, budget=budget)) in done.stdout


def test_its_folder_is_a_runs(calibration):
    again = partial(calibrate, calibration.directory, streams=(1,), seconds=0.1, flood_seconds=0.1)
    with pytest.raises(fmbench.RunDirectoryError):
        again()


def test_the_folder_of_another_calibration_is_refused_without_talk_of_resuming(tmp_path):
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    done = CliRunner().invoke(commands, ["calibrate", "--out", str(tmp_path)])
    assert str(done.exception) == f"{tmp_path} holds an unfinished run: give another folder"
