"""A small part of benchmarks/regressions.py, with fixed seeds: regressions planted in a server in virtual time."""

import importlib.util
import sys
from pathlib import Path

import pytest

PROOF = Path(__file__).parents[2] / "benchmarks" / "regressions.py"


@pytest.fixture(scope="module")
def proof():
    spec = importlib.util.spec_from_file_location("proof_of_regressions", PROOF)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_where_none_is_planted_none_is_claimed_and_intervals_hold(proof):
    seen = proof.tally(streams=1, requests=200, planted=0.0, margin=0.0, memory=0.9, runs=20, seed=1)
    assert seen.wrong <= 2  # of 20 at 5 %: more with a probability of 7 %, were the seeds not fixed
    assert min(seen.covered.values()) >= 17


def test_five_per_cent_are_found_more_often_than_not(proof):
    seen = proof.tally(streams=1, requests=400, planted=0.05, margin=0.0, memory=0.9, runs=12, seed=1)
    assert seen.claimed >= 9
    assert seen.wrong == 0
    assert seen.found["error_rate"] == 0


def test_a_regression_within_the_margin_is_none(proof):
    seen = proof.tally(streams=8, requests=400, planted=0.05, margin=0.1, memory=0.9, runs=8, seed=1)
    assert seen.claimed == seen.wrong == 0


def test_the_server_is_slower_by_what_is_planted(proof):
    one, two = (proof.served(streams=4, requests=50, slower=slower, memory=0.9, seed=3) for slower in (1.0, 1.05))
    assert [request.times[-1] * 1.05 for request in one] == pytest.approx([request.times[-1] for request in two])
