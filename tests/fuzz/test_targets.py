"""The fuzzing targets on what hypothesis makes up, and on what earlier runs began with or found."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
MODULE = runpy.run_path(str(HERE / "targets.py"))
TARGETS, SEEDS = MODULE["TARGETS"], MODULE["SEEDS"]


def mixed(name):
    """Bytes of any kind, and seeds with parts put into, taken out of and repeated in them."""
    seeds = st.sampled_from(SEEDS[name])
    place = st.integers(0, 1 << 16)

    def spliced(seed, other, ends, insertion, start):
        low, high = sorted(end % (len(other) + 1) for end in ends)
        at = start % (len(seed) + 1)
        return seed[:at] + insertion + other[low:high] + seed[at:]

    return st.one_of(
        st.binary(max_size=60), st.builds(spliced, seeds, seeds, st.tuples(place, place), st.binary(max_size=4), place)
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_holds(name):
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_hypothesis_makes_up_holds(name, data):
    TARGETS[name](data.draw(mixed(name)))


@pytest.mark.parametrize("path", sorted((HERE / "found").glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_holds_now(path):
    TARGETS[path.parent.name](path.read_bytes())


def test_the_command_without_the_fuzzer_says_what_to_install():
    script = "import sys; sys.modules['atheris'] = None; sys.argv = ['run.py', '--seconds', '1']; import runpy; "
    script += f"runpy.run_path({str(HERE / 'run.py')!r}, run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "pip install atheris" in ended.stderr.splitlines()[-1]
