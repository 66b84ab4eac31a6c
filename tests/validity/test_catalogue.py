"""The page of checks tells of every check, by the name it has in a result, and names tests that are there."""

import re
from pathlib import Path

import pytest

from fmbench.validity.catalogue import EXPLAINED
from fmbench.validity.checks import CHECKS, assess

ROOT = Path(__file__).parents[2]


def test_every_check_is_explained_in_the_order_in_which_it_is_told():
    assert [one.look for one in EXPLAINED] == list(CHECKS)


def test_the_names_are_those_of_the_results(make_subject):
    told = {check.name for open_load in (False, True) for check in assess([make_subject(open_load=open_load)])}
    assert told | {"workers"} == {one.name for one in EXPLAINED}


@pytest.mark.parametrize("one", EXPLAINED, ids=lambda one: one.name)
def test_the_test_that_is_named_is_there(one):
    path, _, name = one.proof.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("one", EXPLAINED, ids=lambda one: one.name)
def test_each_part_is_said(one):
    assert one.look.__doc__.endswith("?")
    assert all(text.endswith(".") for text in (one.limits, one.why, one.remedy))
