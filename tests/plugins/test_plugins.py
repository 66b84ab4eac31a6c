"""Adapters by name, from distributions that are really installed (in a folder of the test's)."""

import shutil
import sys
import textwrap
from importlib.metadata import distribution, entry_points

import pytest

from fmbench.errors import PluginBroken, PluginError, PluginNotFound
from fmbench.plugins import Plugins, extra_for

GROUP = "fmbench.deployers"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution that registers names."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(distribution, names, module="", requires=()):
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        metadata = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 1.0"]
        metadata += [f"Requires-Dist: {line}" for line in requires]
        (info / "METADATA").write_text("\n".join(metadata) + "\n", encoding="utf-8")
        lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in names.items())]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        if module:
            name = next(iter(names.values())).split(":")[0]
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(module), encoding="utf-8")

    return make


def test_names_are_listed_without_importing_anything(install):
    install("stranger", {"mine": "a_module_that_is_not_there:X"})
    plugins = Plugins(GROUP, "deployer")
    assert "mine" in plugins.names()
    assert ("mine", "stranger") in {(row.name, row.distribution) for row in plugins.describe()}
    assert "a_module_that_is_not_there" not in sys.modules


def test_a_name_gives_its_class(install):
    install("stranger", {"mine": "mine_module:Mine"}, "class Mine: pass")
    assert Plugins(GROUP, "deployer").load("mine").__name__ == "Mine"


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(PluginNotFound, match="there is no deployer called 'llamacp'; did you mean 'llamacpp'") as caught:
        Plugins(GROUP, "deployer").load("llamacp")
    assert (caught.value.group, caught.value.name) == (GROUP, "llamacp")


def test_two_distributions_that_claim_one_name_are_both_named(install):
    install("first-one", {"twin": "a:X"})
    install("second-one", {"twin": "b:Y"})
    with pytest.raises(PluginError, match="'twin' is claimed by both first-one and second-one"):
        Plugins(GROUP, "deployer").load("twin")


def test_a_distribution_that_is_found_twice_is_one(install, tmp_path, monkeypatch):
    install("stranger", {"mine": "seen_module:Mine"}, "class Mine: pass")
    (tmp_path / "copy").mkdir()
    shutil.copytree(tmp_path / "stranger-1.0.dist-info", tmp_path / "copy" / "stranger_again-1.0.dist-info")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    assert len(list(entry_points(group=GROUP, name="mine"))) == 2
    assert Plugins(GROUP, "deployer").load("mine").__name__ == "Mine"


def test_a_broken_plugin_names_its_distribution(install):
    install("stranger", {"bad": "bad_module:X"}, "1 / 0")
    with pytest.raises(PluginBroken, match="of stranger cannot be imported: ZeroDivisionError") as caught:
        Plugins(GROUP, "deployer").load("bad")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_missing_module_of_an_extra_says_which_to_install(install):
    install(
        "a-stranger",
        {"needy": "needy_module:X"},
        "import not_there.deep",
        requires=("numpy", "Not.There>=2; extra == 'all'", "more; extra == 'all'", 'not-there>=2; extra == "gpu"'),
    )
    with pytest.raises(PluginBroken, match=r'pip install "a-stranger\[gpu\]"$'):
        Plugins(GROUP, "deployer").load("needy")


def test_our_own_extras_are_known():
    ours = distribution("fmbench-harness")
    assert [extra_for(name, ours) for name in ("xllamacpp", "gguf.reader", "transformers", "numpy", "pandas")] == [
        "local",
        "local",
        "transformers",
        None,
        None,
    ]


def test_a_missing_module_of_no_extra_is_only_told(install):
    install("stranger", {"needy": "needy_module:X"}, "import not_there")
    with pytest.raises(PluginBroken, match=r"No module named 'not_there'$"):
        Plugins(GROUP, "deployer").load("needy")


@pytest.mark.parametrize("target", ["odd_module:absent", "odd_module:NUMBER"])
def test_a_target_that_is_no_adapter_is_refused(install, target):
    install("stranger", {"odd": target}, "NUMBER = 3")
    with pytest.raises(PluginBroken, match="'odd' of stranger"):
        Plugins(GROUP, "deployer").load("odd")


def test_a_name_registered_twice_by_one_distribution_is_refused(install):
    install("stranger", {"twin": "a:X", "twin ": "b:Y"})
    with pytest.raises(PluginError, match="'twin' is registered twice by stranger, with different targets"):
        Plugins(GROUP, "deployer").load("twin")


def test_what_is_installed_while_the_process_runs_is_found(install):
    plugins = Plugins(GROUP, "deployer")
    with pytest.raises(PluginNotFound):
        plugins.load("late")
    install("stranger", {"late": "late_module:Late"}, "class Late: pass")
    assert plugins.load("late").__name__ == "Late"


def test_a_broken_plugin_is_one_line(install):
    install("stranger", {"bad": "wordy_module:X"}, "raise RuntimeError('one\\ntwo')")
    with pytest.raises(PluginBroken, match=r"RuntimeError: one two$"):
        Plugins(GROUP, "deployer").load("bad")
