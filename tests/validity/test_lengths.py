import pytest

from fmbench.validity.lengths import fills_replies


def lengths(asked, got):
    return lambda number: {"max_new_tokens": asked(number), "completion_tokens": got(number)}


@pytest.mark.parametrize(
    ("asked", "got", "verdict", "figure"),
    [
        (100, 100, "pass", 1.0),
        (100, 91, "pass", 0.91),
        (100, 89, "warn", 0.89),
        (100, 101, "warn", 1.01),
        (None, 50, None, None),
    ],
)
def test_replies_are_held_against_the_length_asked_for(check_of, asked, got, verdict, figure):
    check = check_of("output_length", 50, lengths(lambda _: asked, lambda _: got))
    assert (None if check is None else check.verdict) == verdict
    assert check is None or check.figure == pytest.approx(figure)


def test_each_request_has_a_length_of_its_own(check_of):
    kept = check_of("output_length", 50, lengths(lambda number: 10 + number, lambda number: 10 + number))
    assert kept.verdict == "pass"
    assert "of 10 to 59 asked for" in kept.finding
    # As many tokens in all, but each reply has another one's length.
    swapped = check_of("output_length", 50, lengths(lambda number: 10 + number, lambda number: 59 - number))
    assert (swapped.verdict, swapped.figure) == ("warn", 1.0)
    assert "50% were longer, 50% shorter" in swapped.finding


def test_the_experiment_s_length_stands_in_for_a_record_that_does_not_tell(check_of):
    check = check_of("output_length", 50, lengths(lambda _: None, lambda _: 50), max_new_tokens=100)
    assert (check.verdict, check.figure) == ("warn", 0.5)


def test_a_server_that_was_told_to_fill_each_reply_must(check_of):
    one_short = lengths(lambda _: 100, lambda number: 99 if number == 7 else 100)
    assert check_of("output_length", 50, one_short).verdict == "pass"
    check = check_of("output_length", 50, one_short, exact_length=True)
    assert check.verdict == "warn"
    assert "told to fill" in check.finding
    assert check_of("output_length", 50, exact_length=True).verdict == "pass"


@pytest.mark.parametrize(
    ("payload", "fills"),
    [
        ({"prompt": "x", "max_tokens": 9}, False),
        ({"prompt": "x", "max_tokens": 9, "ignore_eos": True}, True),
        ({"prompt": "x", "max_tokens": 9, "ignore_eos": False}, False),
        ({"max_tokens": 9, "min_tokens": 9}, True),
        ({"max_tokens": 9, "min_tokens": 4}, False),
        ({"inputs": "x", "parameters": {"max_new_tokens": 9, "min_new_tokens": 9}}, True),
        ({"min_tokens": 9}, False),
        ({"messages": [{"role": "user", "ignore_eos": True}]}, False),
        ("text", False),
        (None, False),
    ],
)
def test_what_a_request_tells_the_server_of_its_length(payload, fills):
    assert fills_replies(payload) is fills
