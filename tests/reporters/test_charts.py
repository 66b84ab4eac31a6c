"""The charts: their numbers are the records', and nothing of the caller's matplotlib is changed by drawing them."""

import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from fmbench.reporters import Charts
from fmbench.reporters.charts.bins import bin_label, width_of
from fmbench.reporters.rates import nice_rates


@pytest.fixture(scope="module")
def result(made_up, tmp_path_factory):
    run = made_up(
        deployments={"small": {"facts": {}}, "large": {"facts": {}, "speed": 2.0}},
        loads=[("concurrency", 1), ("concurrency", 4)],
        prompt_sets={"questions": (100, 2900)},
        slo={"latency_p95_seconds": 1.0},
    )
    return run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    directory = tmp_path_factory.mktemp("out")
    written = Charts().report(result, directory)
    assert {path.parent for path in written} == {directory / "charts"}
    assert all(path.stat().st_size for path in written)
    return directory / "charts"


def counted(result):
    """The rule of the metrics, written again: succeeded, due in a window, no warm-up."""
    records = result.records
    windows = {one.name: one.windows[0] for one in result.experiments}
    start, end = (records["experiment"].map(lambda name, side=side: windows[name][side]) for side in (0, 1))
    kept = records[(records.status == "ok") & (records.phase != "warmup") & records.due_ns.between(start, end)]
    return kept.assign(seconds=(kept.last_token_ns - kept.sent_ns) / 1e9)


def test_each_chart_has_its_numbers_beside_it(folder):
    pictures = {path.stem for path in folder.glob("*.svg")}
    assert pictures == {path.stem for path in folder.glob("*.csv")}
    assert pictures >= {
        *("prompt_length_distribution", "latency_ecdf", "latency_by_prompt_tokens", "token_length_effect"),
        *("token_length_effect_across_deployments", "ttft_ecdf", "itl_ecdf"),
        *("throughput_by_concurrency", "output_throughput_by_concurrency", "latency_by_concurrency"),
    }


def test_the_seeds_titles_and_bins_are_there(folder):
    boxes = (folder / "token_length_effect.svg").read_text()
    assert "Effect of token length on inference latency" in boxes
    for label in ("&lt;500", "500-1000", "1000-1500", "2500-3000"):
        assert f">{label}</text>" in boxes
    assert "Prompt length distribution" in (folder / "prompt_length_distribution.svg").read_text()


def test_the_histogram_counts_each_prompt_once(result, folder):
    numbers = pd.read_csv(folder / "prompt_length_distribution.csv")
    lengths = result.records.drop_duplicates("prompt_id").prompt_tokens
    assert numbers["count"].sum() == len(lengths)
    for row in numbers.itertuples():
        assert row.count == ((lengths >= row.from_tokens) & (lengths < row.below_tokens)).sum()


def test_the_scatter_has_every_counted_request(result, folder):
    numbers = pd.read_csv(folder / "latency_by_prompt_tokens.csv").sort_values(["experiment", "prompt_id"])
    expected = counted(result).sort_values(["experiment", "prompt_id"])
    assert numbers.prompt_tokens.tolist() == expected.prompt_tokens.tolist()
    assert numbers.latency_seconds.to_numpy() == pytest.approx(expected.seconds.to_numpy())


def test_boxes_are_the_quartiles_of_their_bins(result, folder):
    numbers = pd.read_csv(folder / "token_length_effect.csv")
    requests = counted(result)
    loads = {one.name: (one.deployment, one.load) for one in result.experiments}
    requests["panel"], requests["load"] = zip(*requests.experiment.map(loads), strict=True)
    requests["bin"] = requests.prompt_tokens.map(lambda tokens: bin_label(tokens, 500))
    grouped = requests.groupby(["panel", "bin", "load"]).seconds
    assert len(numbers) == len(grouped)
    for row in numbers.itertuples():
        values = grouped.get_group((row.panel, row.prompt_tokens, row.load))
        assert row.requests == len(values)
        assert (row.q1_seconds, row.median_seconds, row.q3_seconds) == pytest.approx(
            values.quantile([0.25, 0.5, 0.75]).tolist()
        )
        assert values.min() <= row.whisker_low_seconds <= row.q1_seconds
        assert row.q3_seconds <= row.whisker_high_seconds <= values.max()


@pytest.mark.parametrize(("chart", "metric"), [("latency_ecdf", "latency"), ("ttft_ecdf", "ttft"), ("itl_ecdf", "itl")])
def test_distribution_functions_say_what_share_is_not_above(result, folder, chart, metric):
    numbers = pd.read_csv(folder / f"{chart}.csv")
    for experiment in result.experiments:
        steps = numbers[numbers.experiment == experiment.name]
        values = getattr(experiment, metric).values  # noqa: PD011 - a Distribution
        assert steps.share.iloc[-1] == 1
        assert steps.seconds.iloc[-1] == values.max()
        for step in steps.iloc[:: max(1, len(steps) // 20)].itertuples():
            # Equal values make one step, of which only the top is at its share.
            assert (values < step.seconds).mean() < step.share <= (values <= step.seconds).mean() + 1e-12


def test_throughput_and_latency_against_the_load_are_the_experiments(result, folder):
    rates, latencies = (pd.read_csv(folder / f"{name}_by_concurrency.csv") for name in ("throughput", "latency"))
    for experiment in result.experiments:
        assert rates.set_index("experiment").tps[experiment.name] == pytest.approx(experiment.tps)
        row = latencies.set_index("experiment").loc[experiment.name]
        assert row.latency_p95_seconds == pytest.approx(experiment.latency.p95)
        assert (row.latency_p95_low_seconds, row.latency_p95_high_seconds) == pytest.approx(experiment.latency.interval(0.95))
        assert row.concurrency == experiment.concurrency
    assert "SLO" in (folder / "latency_by_concurrency.svg").read_text()


def test_the_decision_s_charts_are_the_advice_s_points(result, folder):
    numbers = pd.read_csv(folder / "latency_by_throughput.csv").set_index("experiment")
    for point in result.advise().points:
        row = numbers.loc[point.experiment]
        assert (row.requests_per_minute, row.latency_seconds) == pytest.approx(
            (point.requests_per_minute, point.latency_seconds)
        )
        assert row.on_front == point.on_front
    assert "the SLO" in (folder / "latency_by_throughput.svg").read_text()
    assert not (folder / "price_performance.svg").exists(), "no price is known"


def test_the_cost_of_a_rate_is_the_advice_s(made_up, tmp_path):
    priced = {"small": {"facts": {"usd_per_hour": 1.0}}, "large": {"facts": {"usd_per_hour": 3.0}, "speed": 2.0}}
    result = made_up(deployments=priced, slo={"latency_p95_seconds": 1.0}).write(tmp_path / "run")
    Charts().report(result, tmp_path)
    numbers = pd.read_csv(tmp_path / "charts" / "cost_by_requests.csv")
    for rate, rows in numbers.groupby("requests_per_minute"):
        advice = result.advise(requests_per_minute=float(rate))
        assert rows.set_index("deployment").usd_per_hour.to_dict() == {
            one.deployment: one.usd_per_hour for one in advice.candidates if one.standing == "met"
        }
        assert rows[rows.best].deployment.tolist() == [advice.best.deployment]
    front = pd.read_csv(tmp_path / "charts" / "price_performance.csv")
    assert front.on_front.any()
    assert front.usd_per_1000_requests.notna().all()


def test_rates_of_the_table_begin_about_one_instance():
    assert nice_rates(258) == [200, 500, 1000, 2000, 5000, 10000]
    assert nice_rates(0.3, 3) == [0.2, 0.5, 1]


def test_open_loads_are_drawn_against_their_rate(made_up, tmp_path):
    result = made_up(loads=[("rate", 2), ("rate", 8)]).write(tmp_path / "run")
    Charts().report(result, tmp_path)
    numbers = pd.read_csv(tmp_path / "charts" / "latency_by_rate.csv")
    assert numbers.rate.tolist() == [2, 8]
    assert numbers.latency_p50_seconds.tolist() == pytest.approx([one.response_latency.p50 for one in result.experiments])
    assert not (tmp_path / "charts" / "latency_by_concurrency.svg").exists()
    scatter = pd.read_csv(tmp_path / "charts" / "latency_by_prompt_tokens.csv")
    mine = scatter[scatter.experiment == result.experiments[1].name]
    assert np.sort(mine.latency_seconds) == pytest.approx(np.sort(result.experiments[1].response_latency.values))


def test_unstreamed_replies_have_no_ttft_chart(made_up, tmp_path):
    result = made_up(streamed=False).write(tmp_path / "run")
    names = {path.stem for path in Charts().report(result, tmp_path)}
    assert "latency_ecdf" in names
    assert not names & {"ttft_ecdf", "itl_ecdf"}


@pytest.mark.parametrize("shape", [{"failing": ("server", "boom"), "failing_share": 1.0}, {"deployments": {}}])
def test_without_successes_no_chart_is_made_of_nothing(made_up, tmp_path, shape):
    result = made_up(**shape).write(tmp_path / "run")
    names = {path.stem for path in Charts().report(result, tmp_path)}
    assert names <= {"prompt_length_distribution"}


def test_many_points_are_an_image_and_few_are_not(made_up, tmp_path):
    for requests, inside in ((300, False), (1100, True)):
        result = made_up(requests=requests).write(tmp_path / f"run-{requests}")
        Charts().report(result, tmp_path / f"out-{requests}")
        svg = (tmp_path / f"out-{requests}" / "charts" / "latency_by_prompt_tokens.svg").read_text()
        assert ("<image" in svg) is inside


def test_png_is_png(made_up, tmp_path):
    result = made_up(loads=[("concurrency", 1)], requests=20).write(tmp_path / "run")
    pictures = [path for path in Charts(form="png").report(result, tmp_path) if path.suffix != ".csv"]
    assert pictures
    assert all(path.suffix == ".png" and path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_names_are_drawn_as_they_are(made_up, tmp_path):
    names = {"costs $5 and $6": (100, 900), "部署 <b>": (900, 1900)}
    result = made_up(prompt_sets=names, loads=[("concurrency", 2)]).write(tmp_path / "run")
    Charts().report(result, tmp_path)  # a warning would be an error
    svg = (tmp_path / "charts" / "latency_ecdf.svg").read_text()
    assert "costs $5 and $6" in svg
    assert "部署 &lt;b&gt;" in svg


def test_the_callers_matplotlib_is_left_alone_and_does_not_matter(result, folder, tmp_path):
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 40, "text.usetex": True, "svg.fonttype": "path"}):
        before, filters = mpl.rcParams.copy(), list(warnings.filters)
        Charts().report(result, tmp_path)
        assert dict.items(mpl.rcParams) == dict.items(before)  # as they stand: reading them chooses a backend
        assert list(warnings.filters) == filters
    for path in sorted(folder.iterdir()):
        assert (tmp_path / "charts" / path.name).read_bytes() == path.read_bytes(), f"{path.name} differs"


def test_drawing_needs_no_pyplot_and_importing_needs_nothing_heavy(result, tmp_path):
    program = (
        "import sys, fmbench.reporters\n"
        "heavy = {'matplotlib', 'pandas', 'pyarrow', 'numpy', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from fmbench.result import Result\n"
        "fmbench.reporters.Charts().report(Result.load(sys.argv[1]), __import__('pathlib').Path(sys.argv[2]))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(result.directory), str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("lengths", "width"),
    [
        ((120, 1800), 500),
        ((2100, 2900), 500),
        ((2000, 2400), 100),
        ((40, 380), 100),
        ((100, 900), 200),
        ((30, 45), 5),
        ((300, 300), 500),
        ((100, 7999), 500),
        ((100, 60_000), 5000),
    ],
)
def test_bins_are_500_tokens_unless_that_tells_too_little_or_too_much(lengths, width):
    assert width_of(np.linspace(*lengths, 400)) == width


def test_a_bin_holds_its_lower_end():
    assert [bin_label(length, 500) for length in (0, 499, 500, 999, 1000)] == [
        "<500",
        "<500",
        "500-1000",
        "500-1000",
        "1000-1500",
    ]
