"""The model against what is known of it: rules step by step, textbook queues in closed form."""

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbench import ConfigError
from fmbench.simulator import Batching, Fixed, Queueing, serve

MS = 1_000_000
NEVER = 1 << 62
PLAIN = Batching(prefill_tokens_per_second=1000, decode_seconds=0.010, decode_seconds_per_sequence=0.001, batch_limit=2)


def times(job):
    return [time / MS for time in job.times_ns]


def test_one_request_is_processed_then_decoded_step_by_step():
    [job] = serve(PLAIN, [(5 * MS, 100, 4)])
    assert job.started_ns == 5 * MS
    assert times(job) == [105, 116, 127, 138]
    assert job.ended_ns == 138 * MS


def test_a_prompt_goes_before_the_batchs_next_step_and_makes_it_longer():
    first, second = serve(PLAIN, [(0, 100, 4), (105 * MS, 50, 2)])
    assert times(first) == [100, 111, 161 + 12, 173 + 11]  # 111: the step that had begun; to 161 the other one's prompt
    assert times(second) == [161, 173]


def test_what_comes_as_a_step_begins_takes_part_in_it():
    first, second = serve(PLAIN, [(0, 100, 3), (100 * MS, 50, 1)])
    assert times(second) == [150]
    assert times(first) == [100, 161, 172]


def test_a_full_batch_lets_nobody_in_and_nobody_overtakes():
    jobs = serve(PLAIN, [(0, 10, 3), (0, 10, 3), (0, 10, 1), (1, 10, 1)])
    assert times(jobs[1]) == [20, 32, 44]
    assert [times(job) for job in jobs[2:]] == [[54], [64]]


def test_a_request_waits_for_room_and_so_do_those_behind_it():
    model = Batching(
        prefill_tokens_per_second=1000, decode_seconds=0.010, decode_seconds_per_sequence=0, batch_limit=9, kv_tokens=40
    )
    big, small, never = serve(model, [(0, 20, 3), (0, 30, 1), (0, 41, 1)])[0:3]
    assert times(big) == [20, 30, 40]
    assert times(small) == [70]  # 20 + 3 and 30 + 1 tokens are more than 40
    assert "41 + 1 tokens are more than the 40" in never.refused
    assert times(never) == []
    assert times(serve(model, [(0, 20, 3), (0, 30, 1), (0, 1, 1)])[2]) == [71]


def test_who_goes_away_gets_no_more_and_makes_room_at_the_end_of_the_step():
    service = PLAIN.start()
    jobs = [service.submit(0, prompt_tokens=10, output_tokens=output) for output in (9, 9, 2)]
    while service.step(40 * MS):
        pass
    assert times(jobs[0]) == [10, 32]
    service.cancel(jobs[0], 40 * MS)
    service.cancel(jobs[0], 41 * MS)
    while service.step(NEVER):
        pass
    assert times(jobs[0]) == [10, 32]
    assert times(jobs[1])[:4] == [20, 32, 44, 54 + 12]  # 44: the step that had begun; to 54 the third one's prompt
    assert times(jobs[2]) == [54, 66]
    assert jobs[0].ended_ns is None


def test_who_goes_away_from_the_queue_was_never_there():
    service = PLAIN.start()
    jobs = [service.submit(0, prompt_tokens=10, output_tokens=2) for _ in range(4)]
    service.cancel(jobs[2], 0)
    while service.advance(NEVER):
        pass
    assert jobs[2].started_ns is None
    assert times(jobs[3]) == [42, 53]


def test_fixed_times_do_not_depend_on_who_else_is_there():
    jobs = serve(Fixed(ttft_seconds=0.05, itl_seconds=0.01), [(0, 9, 3), (1 * MS, 999, 1)])
    assert [times(job) for job in jobs] == [[50, 60, 70], [51]]


def test_a_queue_serves_in_order_and_spreads_the_tokens():
    jobs = serve(Queueing(service_seconds=0.1, service="deterministic"), [(0, 1, 2), (10 * MS, 1, 4), (400 * MS, 1, 1)])
    assert [times(job) for job in jobs] == [[50, 100], [125, 150, 175, 200], [500]]


def test_who_leaves_a_queue_frees_its_server():
    service = Queueing(service_seconds=0.1, service="deterministic").start()
    first, second, third = (service.submit(0, prompt_tokens=1, output_tokens=4) for _ in range(3))
    assert service.step(30 * MS).jobs == [first]
    service.cancel(first, 30 * MS)
    service.cancel(second, 40 * MS)
    while service.step(NEVER):
        pass
    assert times(first) == [25]
    assert times(second) == []
    assert times(third) == [65, 90, 115, 140]


# Closed forms: under Poisson arrivals the mean wait is known, and so is the share of those who wait.


def waits(model, per_second, count, seed):
    draw = random.Random(seed)
    at, arrivals = 0.0, []
    for _ in range(count):
        at += draw.expovariate(per_second)
        arrivals.append((round(at * 1e9), 1, 1))
    return [(job.started_ns - job.at_ns) / 1e9 for job in serve(model, arrivals)]


def runs(model_of, per_second, *, count=4000, times=20):
    """The mean and its standard error over independent runs, the first tenth of each left out."""
    means = [statistics.fmean(waits(model_of(seed), per_second, count, seed + 1000)[count // 10 :]) for seed in range(times)]
    return statistics.fmean(means), statistics.stdev(means) / math.sqrt(times)


def erlang_c(servers, load):
    top = load**servers / math.factorial(servers) * servers / (servers - load)
    return top / (sum(load**k / math.factorial(k) for k in range(servers)) + top)


def agrees(found, truth):
    mean, error = found
    assert error < 0.1 * truth, "too few to tell"
    assert abs(mean - truth) < 3.5 * error, (mean, truth, error)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_of_m_m_1(load):
    agrees(runs(lambda seed: Queueing(service_seconds=0.1, seed=seed), load / 0.1), load * 0.1 / (1 - load))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_of_m_d_1_is_half_of_that(load):
    model = Queueing(service_seconds=0.1, service="deterministic")
    agrees(runs(lambda _seed: model, load / 0.1), load * 0.1 / (1 - load) / 2)


@pytest.mark.parametrize(("servers", "load"), [(2, 1.4), (8, 6.8)])
def test_the_mean_wait_of_m_m_c_is_erlangs(servers, load):
    truth = erlang_c(servers, load) * 0.1 / (servers - load)
    agrees(runs(lambda seed: Queueing(service_seconds=0.1, servers=servers, seed=seed), load / 0.1), truth)


def test_the_waits_of_m_m_1_are_distributed_as_they_should():
    found = sorted(waits(Queueing(service_seconds=0.1, seed=3), 7.0, 60_000, 4))
    for share in (0.2, 0.1, 0.05):  # P(wait > t) = load * exp(-(1 - load) t / service)
        at = -math.log(share / 0.7) * 0.1 / 0.3
        beyond = sum(wait > at for wait in found) / len(found)
        assert beyond == pytest.approx(share, rel=0.12)


def test_one_batch_place_and_one_token_is_a_queue():
    """Continuous batching with a constant prompt is M/D/1, which is known."""
    model = Batching(prefill_tokens_per_second=10, decode_seconds=1, batch_limit=1)
    agrees(runs(lambda _seed: model, 8.0), 0.8 * 0.1 / 0.2 / 2)


def test_jitter_keeps_the_mean_and_the_seed_decides():
    def latency(jitter, seed):
        [job] = serve(Batching(jitter=jitter, seed=seed), [(0, 1000, 5001)])
        return job.ended_ns / 1e9

    assert latency(0.0, 1) == pytest.approx(0.1 + 5000 * 0.0202)
    assert latency(0.2, 1) == latency(0.2, 1) != latency(0.2, 2)
    assert latency(0.2, 1) == pytest.approx(latency(0.0, 1), rel=4 * 0.2 / math.sqrt(5000))
    [job] = serve(Batching(jitter=0.2), [(0, 1000, 5001)])
    gaps = [math.log(later - earlier) for earlier, later in zip(job.times_ns, job.times_ns[1:], strict=False)]
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.05)


# Two ways through the same time must lead to the same place.

MODELS = st.sampled_from([
    PLAIN,
    Batching(kv_tokens=200, batch_limit=4, prefill_tokens_per_second=3000),
    Batching(jitter=0.3, batch_limit=3, prefill_tokens_per_second=3000),
    Fixed(ttft_seconds=0.01, itl_seconds=0.003),
    Fixed(ttft_seconds=0, itl_seconds=0),
    Queueing(service_seconds=0.05, servers=2),
    Queueing(service_seconds=0.05, service="deterministic"),
])  # fmt: skip
COMING = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 100), st.integers(1, 30), st.none() | st.integers(0, 500)), max_size=12
)


def driven(model, coming, by):
    """Each event of a life, submissions and departures, with all that comes between by ``step`` or by ``advance``."""
    service = model.start()
    events = [(at * MS, 0, index) for index, (at, _, _, _) in enumerate(coming)]
    events += [((at + stay) * MS, 1, index) for index, (at, _, _, stay) in enumerate(coming) if stay is not None]
    jobs = {}
    for at, kind, index in [*sorted(events), (NEVER, 2, 0)]:
        while getattr(service, by)(at):
            pass
        if kind == 0:
            jobs[index] = service.submit(at, prompt_tokens=coming[index][1], output_tokens=coming[index][2])
        elif kind == 1:
            service.cancel(jobs[index], at)
    return [(list(jobs[index].times_ns), jobs[index].ended_ns, jobs[index].cancelled_ns) for index in range(len(coming))]


@settings(deadline=None, max_examples=300, derandomize=True)
@given(MODELS, COMING)
def test_many_steps_at_once_are_as_many_single_ones(model, coming):
    assert driven(model, coming, "step") == driven(model, coming, "advance")


@settings(deadline=None, max_examples=150, derandomize=True)
@given(MODELS, COMING)
def test_what_is_dealt_is_what_the_jobs_say(model, coming):
    service = model.start()
    jobs = [
        service.submit(at * MS, prompt_tokens=prompt, output_tokens=output)
        for at, prompt, output, _ in sorted(coming, key=lambda one: one[0])
    ]
    dealt = {id(job): [] for job in jobs}
    while (at := service.next_ns()) is not None:
        assert service.step(at - 1) is None
        end = service.next_end_ns()
        told = service.step(at)
        assert told.at_ns == at
        for job in told.jobs:
            dealt[id(job)].append(at)
            assert not job.over or at >= end
    for job in jobs:
        assert dealt[id(job)] == list(job.times_ns)
        assert len(job.times_ns) == (0 if job.refused else job.output_tokens)
        assert job.refused or job.ended_ns == job.times_ns[-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Batching(batch_limit=0), "batch_limit must be a whole number of 1 or more, not 0"),
        (lambda: Batching(prefill_tokens_per_second=0), "prefill_tokens_per_second must be above 0, not 0"),
        (lambda: Batching(jitter=-1), "jitter must be 0 or more, not -1"),
        (lambda: Batching(kv_tokens=0), "kv_tokens must be a whole number of 1 or more, not 0"),
        (lambda: Fixed(itl_seconds=math.nan), "itl_seconds must be 0 or more, not nan"),
        (lambda: Queueing(service_seconds=1, servers=0), "servers must be a whole number of 1 or more, not 0"),
        (lambda: Queueing(service_seconds=1, service="odd"), "service must be 'exponential' or 'deterministic', not 'odd'"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
