"""Two runs of one workload, compared."""

import json
import random

import pytest

from fmbench import ConfigError, Record, Result

MS = 1_000_000
PROMPTS = [{"name": "prompts", "count": 400, "sha256": "0" * 64}]


@pytest.fixture
def run(write_run):
    """Writes a run whose requests differ as prompts do, the same on both sides, and by a little noise of their own."""

    def write(seed, *, slower=1.0, failing=0.0, requests=400, names=("one",), level=4, prompts=PROMPTS, **entry):
        noise, lengths = random.Random(seed), random.Random(0)
        records = []
        for name in names:
            clocks = [0] * level
            for number in range(requests):
                stream = clocks.index(min(clocks))
                due = clocks[stream]
                first = round(100 * MS * slower * lengths.lognormvariate(0, 0.5) * noise.lognormvariate(0, 0.1))
                times = [due + first + round(20 * MS * slower * token * noise.uniform(0.9, 1.1)) for token in range(5)]
                clocks[stream] = times[-1] + MS
                bad = noise.random() < failing
                seen = {"due_ns": due, "sent_ns": due, "arrivals_ns": times, "end_ns": times[-1] + MS}
                seen |= dict.fromkeys(("first_byte_ns", "first_token_ns"), times[0])
                seen |= dict.fromkeys(("last_token_ns", "last_byte_ns"), times[-1])
                seen |= {"status": "error", "error_kind": "server", "error_message": "no"} if bad else {}
                records.append(write_run.reply(name, number, level, **seen))
        end = max(record.end_ns for record in records) if records else 0
        experiments = [write_run.entry(name, level, requests, windows=[[0, end]] if records else []) | entry for name in names]
        return Result.load(write_run(records, experiments=experiments, prompt_sets=prompts))

    return write


def recorded(result):
    """Its records as they were written."""
    return [Record(**row) for row in result.experiments[0].table().to_pylist()]


def verdicts(comparison):
    return {one.metric: one.verdict for one in comparison.differences}


def test_a_run_is_no_different_from_itself(run):
    result = run(1)
    comparison = result.compare(result)
    assert set(verdicts(comparison).values()) == {"no evidence"}
    assert all(one.change == 0 and one.p == one.adjusted_p == 1 for one in comparison.differences)
    assert comparison.verdict == "no evidence"
    assert comparison.sentence == "No evidence of a change in 9 comparisons."


def test_a_planted_regression_is_found_and_lies_in_its_interval(run):
    comparison = run(1).compare(run(2, slower=1.05))
    found = {one.metric: one for one in comparison.differences}
    assert found["latency_p50"].low <= 0.05 <= found["latency_p50"].high
    assert found["tps"].low <= 1 / 1.05 - 1 <= found["tps"].high
    assert {"tpot_p50", "tps", "output_throughput"} <= {one.metric for one in comparison.regressions}
    assert comparison.improvements == ()
    assert comparison.sentence.startswith("Worse: ")
    assert found["latency_p50"].superiority > 0.5
    back = run(2, slower=1.05).compare(run(1))
    assert back.verdict == "better"
    assert {one.metric for one in back.improvements} == {one.metric for one in comparison.regressions}


def test_prompts_in_common_are_drawn_together(run, write_run):
    """Prompts differ by far more than 5 %; drawn together, that does not blur the difference between the sides."""
    one, two = run(1), run(2, slower=1.05)
    together = one.compare(two, metrics=["latency_mean"]).differences[0]
    others = [record._replace(prompt_id=f"other {record.prompt_id}") for record in recorded(two)]
    experiments = json.loads((two.directory / "run.json").read_text())["experiments"]
    strange = Result.load(write_run(others, experiments=experiments, prompt_sets=PROMPTS))
    apart = one.compare(strange, metrics=["latency_mean"]).differences[0]
    assert apart.change == together.change
    assert together.high - together.low < (apart.high - apart.low) / 2


def test_a_margin_is_what_has_to_be_exceeded(run):
    one, two = run(1), run(2, slower=1.2)
    assert one.compare(two, margin=0.1, metrics=["tps", "latency_mean"]).verdict == "worse"
    assert one.compare(two, margin=0.3, metrics=["tps", "latency_mean"]).verdict == "no evidence"
    assert "by more than 10%" in one.compare(two, margin=0.1).sentence


def test_failures_are_a_regression_whatever_the_margin(run):
    comparison = run(1).compare(run(2, failing=0.05), margin=0.5)
    [worse] = comparison.regressions
    assert worse.metric == "error_rate"
    assert worse.low > 0
    assert worse.change == pytest.approx(0.05, abs=0.03)


def test_runs_repeated_are_compared_by_their_scatter(run):
    before, after = [run(seed) for seed in (1, 2, 3)], [run(seed, slower=1.3) for seed in (4, 5)]
    comparison = before[0].compare(after, also=before[1:])
    assert comparison.verdict == "worse"
    found = {one.metric: one for one in comparison.differences}
    assert found["tps"].runs == (3, 2)
    assert found["tps"].block_length is None
    assert found["tps"].low <= 1 / 1.3 - 1 <= found["tps"].high
    assert "Student" in comparison.method
    assert not any("one run on each side" in told for told in comparison.remarks)
    assert before[0].compare(before[1], also=before[2:]).verdict == "no evidence"


def test_a_single_run_says_what_it_cannot_know(run):
    assert any("one run on each side" in told for told in run(1).compare(run(2)).remarks)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"parameters": {"max_new_tokens": 50}}, r"max_new_tokens \(5 against 50\)"),
        ({"parameters": {"max_new_tokens": 5, "temperature": 1}}, r"temperature \(not given against 1\)"),
        ({"load": {"type": "Concurrency", "n": 8}}, r"load n \(4 against 8\)"),
        ({"prompts": [{"name": "prompts", "count": 400, "sha256": "1" * 64}]}, "texts of 'prompts'"),
    ],
)
def test_unequal_workloads_are_refused_unless_it_is_asked_for(run, other, told):
    one, two = run(1), run(2, **other)
    with pytest.raises(ConfigError, match=told) as caught:
        one.compare(two)
    assert "\n" not in str(caught.value)
    comparison = one.compare(two, unequal=True)
    assert len(comparison.unequal) == 1
    assert comparison.sentence.startswith("Unequal workloads were compared.")


def test_a_longer_run_of_the_same_load_is_said_and_compared(run):
    one, two = run(1, load={"type": "Concurrency", "n": 4, "requests": 400}), run(2, load={"type": "Concurrency", "n": 4})
    comparison = one.compare(two)
    assert comparison.verdict == "no evidence"
    assert any("not equally much was measured" in told for told in comparison.remarks)


def test_experiments_of_other_names_are_paired_by_their_workload(run):
    comparison = run(1).compare(run(2, names=("other",)))
    assert {one.experiment for one in comparison.differences} == {"one → other"}


def test_what_has_no_partner_is_said(run):
    comparison = run(1, names=("one", "two")).compare(run(2))
    assert any("two (baseline only)" in told for told in comparison.remarks)
    assert {one.experiment for one in comparison.differences} == {"one"}


def test_without_any_pair_it_says_in_what_the_nearest_differ(run):
    with pytest.raises(ConfigError, match=r"'one' and 'other' differ in load n \(4 against 8\)"):
        run(1).compare(run(2, names=("other",), load={"type": "Concurrency", "n": 8}))


def test_what_was_not_measured_is_not_compared_and_is_missing(run):
    comparison = run(1).compare(run(2, requests=0, status="not_sent", reason="the deployment failed"))
    assert comparison.verdict == "not compared"
    assert {one.metric for one in comparison.missing} == set(verdicts(comparison))
    assert "the deployment failed" in comparison.sentence


def test_too_few_requests_for_a_percentile_are_said(run):
    found = {one.metric: one for one in run(1, requests=60).compare(run(2, requests=60)).differences}
    assert found["latency_p95"].verdict == "not compared"
    assert found["latency_p95"].reason == "p95 needs 130 requests, and there are 60"
    assert found["latency_p50"].verdict == "no evidence"


def test_prompts_without_a_digest_are_told_by_their_ids(run):
    one = run(1, prompts=[{"name": "prompts"}])
    assert any("without a digest" in told for told in one.compare(run(2)).remarks)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"metrics": ["latency"]}, "metric: 'latency' is not known"),
        ({"metrics": ["latency_p100"]}, "metric"),
        ({"margin": -0.1}, "margin"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(run, options, told):
    one = run(1)
    with pytest.raises(ConfigError, match=told):
        one.compare(one, **options)
    with pytest.raises(ConfigError, match="no candidate"):
        one.compare([])


def test_any_metric_and_percentile_can_be_compared(run):
    metrics = ["itl_mean", "response_p90", "service_p80_seconds", "ttft_mean", "latency_p99.9"]
    found = verdicts(run(1).compare(run(2, slower=1.1), metrics=metrics))
    assert list(found) == metrics
    assert found["itl_mean"] == "worse"
    assert found["latency_p99.9"] == "not compared"


def test_the_same_seed_gives_the_same_comparison_and_every_form_tells_it(run):
    one, two = run(1), run(2, slower=1.05)
    comparison = one.compare(two)
    assert comparison.as_dict() == one.compare(two).as_dict()
    told = json.loads(json.dumps(comparison.as_dict(), allow_nan=False))
    assert told["verdict"] == "worse"
    assert len(told["differences"]) == 9
    assert str(comparison).startswith(comparison.sentence)
    assert "latency p95 (s)" in str(comparison)
    assert "<td>worse</td>" in comparison._repr_html_()


def test_an_open_load_s_rates_are_compared_by_the_time_between_replies(run):
    opened = {"load": {"type": "Poisson", "per_second": 3.0}, "concurrency": None, "per_second": 3.0}
    comparison = run(1, **opened).compare(run(2, **opened), metrics=["tps", "output_throughput", "latency_p50"])
    assert set(verdicts(comparison).values()) == {"no evidence"}
    assert all(one.low < 0 < one.high for one in comparison.differences)
