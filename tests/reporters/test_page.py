"""The page: complete, self-contained, honest about what is missing, and harmless whatever a server says."""

import base64
import gzip
import io
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from fmbench.reporters import Charts, Html
from fmbench.reporters.wording import DASH

VOID = {"meta", "br", "hr", "img", "input", "link", "path", "use", "rect", "image"}


class Page(HTMLParser):
    """A page taken apart: its text, its elements, whether they are nested as they should be."""

    def __init__(self, html):
        super().__init__()
        self.html, self.open, self.elements, self.words, self.titles = html, [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.titles += [value for name, value in attrs if name == "title"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def rows(self, start):
        """The rows of the first table after ``start``, cell by cell."""
        table = self.html[self.html.index(start) :]
        table = table[table.index("<tbody") : table.index("</tbody>")]
        return [
            [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
            for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        ]


def page_of(result, directory):
    (path,) = Html().report(result, directory)
    assert path == directory / "report.html"
    return Page(path.read_text(encoding="utf-8"))


PRICED = {"facts": {"instance_type": "ml.g5.12xlarge", "usd_per_hour": 7.09, "environment": {"OPTION_DTYPE": "fp16"}}}
FAST = {"facts": {"instance_type": "ml.inf2.48xlarge", "usd_per_hour": 15.58}, "speed": 1.8}


@pytest.fixture(scope="module")
def result(made_up, tmp_path_factory):
    run = made_up(deployments={"gpu": PRICED, "neuron": FAST}, slo={"latency_p95_seconds": 1.0})
    return run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(result, tmp_path_factory):
    return page_of(result, tmp_path_factory.mktemp("out"))


def test_nothing_is_fetched_and_nothing_runs(page):
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "xlink:href", "action", "data"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value[:80])
        assert not [name for name in attributes if name.startswith("on")], tag
    assert "@import" not in page.html
    for style in [a["style"] for _, a in page.elements if "style" in a] + re.findall(
        r"<style>.*?</style>", page.html, re.DOTALL
    ):
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", style))
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_what_they_refer_to_is_there(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawn = ("style", "fill", "stroke", "clip-path", "mask", "filter")
    values = [value for _, attributes in page.elements for name, value in attributes.items() if name in drawn]
    references = [name for value in values for name in re.findall(r"url\(#([^)]*)\)", value)]
    references += [attributes["href"][1:] for _, attributes in page.elements if attributes.get("href", "").startswith("#")]
    assert len(references) > 100
    assert set(references) <= set(ids)


def test_it_has_both_schemes_a_print_form_and_a_phones_width(page):
    assert "prefers-color-scheme: dark" in page.html
    assert "@media print" in page.html
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in page.html
    assert "overflow-x: auto" in page.html


def test_the_first_screen_is_the_answer_and_how_far_to_trust_it(result, page):
    first = page.html[: page.html.index('<section id="summary"')]
    text = Page(first + "</body></html>").text
    assert result.advise().sentence in text
    assert "latency p95 (s)" in text
    doubts = [check for check in result.validity if check.verdict != "pass"]
    assert doubts, "the made-up result has too few requests for p99"
    for check in doubts:
        assert check.finding in text
        assert check.remedy in text
    for name in {check.name for check in doubts}:
        told = max((check for check in doubts if check.name == name), key=lambda check: abs(check.figure - check.limit))
        assert f"Figure {told.figure:.3g}, limit {told.limit:.3g}" in text
    for check in result.validity:
        assert check.name.replace("_", " ") in text


def test_the_evidence_follows_the_answer(result, page):
    first = page.html[: page.html.index('<section id="summary"')]
    places = [first.index(f'id="{name}"') for name in ("answer", "latency_by_throughput", "price_performance", "instances")]
    assert places == sorted(places)
    table = result.advise(requests_per_minute=[float(rate.replace(",", "")) for rate in re.findall(
        r'<th scope="col" class="number">([\d,.]+)</th>', first[places[3] :]
    )])  # fmt: skip
    rows = page.rows('id="instances"')
    assert [row[0] for row in rows] == [same[0].deployment for same in table.candidates()]
    for row, same in zip(rows, table.candidates(), strict=True):
        for cell, one in zip(row[1:], same, strict=True):
            assert cell.split(",")[0] == str(one.instances)
    assert sum("✓" in cell for row in rows for cell in row) == len(table)
    for told in result.advise().remarks:
        assert told.split(":")[0].split("latency_p95")[0] in Page(first + "</body></html>").text


def test_prices_that_were_changed_are_said(result, tmp_path):
    text = page_of(result.with_prices({"ml.g5.12xlarge": 1.0}, multiplier=0.5), tmp_path).text
    assert "Prices were changed after the run: ml.g5.12xlarge: usd_per_hour=1.0; times 0.5." in text
    assert "Prices were changed" not in page_of(result, tmp_path / "as it was").text


def test_the_summary_has_every_experiment_with_its_figures(result, page):
    rows = page.rows('id="summary"')
    assert len(rows) == len(result.experiments)
    for row, one in zip(rows, result.experiments, strict=True):
        assert row[:4] == [one.deployment, one.load, one.verdict, "140"]
        p50, p95, p99 = (row[index] for index in (5, 6, 7))
        factor = 1000 if "Latency (ms)" in page.text else 1
        assert float(p50) == pytest.approx(one.latency.p50 * factor, rel=0.006)
        assert float(p95) == pytest.approx(one.latency.p95 * factor, rel=0.006)
        assert p99.startswith(DASH)
        assert float(row[12]) == pytest.approx(one.tps, rel=0.006)
        assert float(row[14].lstrip("$")) == pytest.approx(one.cost_per_1000_requests_usd, rel=0.006)
        assert float(row[-1].rstrip("%")) == pytest.approx(one.good_share(result.slo) * 100, abs=0.06)


def test_a_missing_percentile_says_why_on_the_dash_and_below(result, page):
    assert result.experiments[0].latency.why_none(0.99) in page.titles
    assert "too few successful requests for a 99th percentile" in page.text


def test_what_it_cost_is_told_or_why_not(made_up, result, page, tmp_path):
    assert f"${result.cost.usd:,.3g}" in page.text
    other = made_up(deployments={"a": {"facts": {}}, "b": {"facts": {}}}).write(tmp_path / "run")
    text = page_of(other, tmp_path).text
    assert text.count(other.cost.deployments[0].reason) == text.count("Not known: no price is known") == 1


def test_the_views_that_the_seed_asks_for_are_there(page):
    headings = re.findall(r"<h3>([^<]*)</h3>", page.html)
    for heading in (
        *("Prompt length distribution", "Latency: cumulative distribution", "Prompt tokens and latency, by concurrency"),
        "Effect of token length on inference latency",
        "Effect of token length on inference latency, across deployments",
        *("Time to first token (TTFT): cumulative distribution", "Inter-token latency (ITL): cumulative distribution"),
        *("Requests a second against concurrency", "Latency against concurrency"),
    ):
        assert heading in headings
    drawn = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert len(drawn) == len(set(drawn)) >= len(headings) - 6


def test_the_numbers_can_be_taken_out_of_the_page(result, page, tmp_path):
    Charts().report(result, tmp_path)
    links = {a["download"]: a["href"] for tag, a in page.elements if tag == "a" and "download" in a}
    assert {name.split(".")[0] for name in links} == {path.stem for path in (tmp_path / "charts").glob("*.csv")}
    for name, address in links.items():
        content = base64.b64decode(address.split("base64,")[1])
        text = gzip.decompress(content) if name.endswith(".gz") else content
        beside = pd.read_csv(tmp_path / "charts" / f"{name.split('.')[0]}.csv")
        pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(text)), beside, rtol=1e-5, check_dtype=False)


def test_facts_machine_versions_and_configuration_are_there(page):
    for text in ("ml.g5.12xlarge", "OPTION_DTYPE: fp16", "max_new_tokens: 20", "Linux-6.1", "8 GiB", "http://10.0.0.7:8080"):
        assert text in page.text


HOSTILE = "</pre><script>alert('x')</script><img src=x onerror=alert(1)> ${{7*7}} & more"


def test_whatever_comes_from_outside_is_text(made_up, tmp_path):
    run = made_up(
        name=HOSTILE,
        deployments={HOSTILE: {"facts": {"note": HOSTILE, "nested": {HOSTILE: [HOSTILE]}}, "model": HOSTILE}, "b": PRICED},
        prompt_sets={HOSTILE: (100, 1900), "id=\"x\" url(#y) href='#z'": (50, 900)},
        failing=("server", HOSTILE), failing_share=0.2, reply=HOSTILE,
        problems=[{"where": HOSTILE, "kind": HOSTILE, "message": HOSTILE}],
        configuration={"note": HOSTILE}, slo={"latency_p95_seconds": 0.01},
    )  # fmt: skip
    page = page_of(run.write(tmp_path / "run"), tmp_path)
    test_nothing_is_fetched_and_nothing_runs(page)
    test_ids_are_unique_and_what_they_refer_to_is_there(page)
    assert "img" not in {tag for tag, _ in page.elements}
    assert page.text.count(" ".join(HOSTILE.split())) > 10
    assert "id=\"x\" url(#y) href='#z'" in page.text


def test_without_an_slo_the_maxima_are_told_and_how_to_ask(made_up, tmp_path):
    result = made_up().write(tmp_path / "run")
    text = page_of(result, tmp_path).text
    best = max(result.experiments, key=lambda one: one.tps)
    assert f"The most measured was {best.tps:.3g} requests a second" in text
    assert f"{best.deployment} at {best.load}" in text
    assert "No SLO was given, so nothing is recommended" in text


def test_unstreamed_replies_have_dashes_with_their_reason(made_up, tmp_path):
    result = made_up(streamed=False).write(tmp_path / "run")
    page = page_of(result, tmp_path)
    for row in page.rows('id="summary"'):
        assert all(cell.startswith(DASH) for cell in row[8:12])
    assert page.text.count(result.experiments[0].reasons["ttft"]) >= 2  # in the footnote, and where its chart would be


def test_all_failed_says_so_first(made_up, tmp_path):
    result = made_up(failing=("throttled", "slow down"), failing_share=1.0).write(tmp_path / "run")
    page = page_of(result, tmp_path)
    assert "There is no answer: no request succeeded (throttled: slow down)." in page.text
    assert "Do not rely on these numbers" in page.text
    assert ["small/questions/concurrency 1", "throttled", "142", "slow down"] in page.rows('id="errors"')


def test_a_failed_deployment_is_told(made_up, tmp_path):
    error = {"kind": "DeployError", "message": "no capacity for ml.p4d.24xlarge"}
    run = made_up(deployments={"gone": {"facts": {}, "error": error}, "gpu": PRICED}, slo={"latency_p95_seconds": 1.0})
    page = page_of(run.write(tmp_path / "run"), tmp_path)
    assert "no capacity for ml.p4d.24xlarge" in page.text
    assert "not sent: the deployment failed" in page.text
    assert "(not sent)" in page.rows('id="summary"')[0][1]


def test_an_empty_result_is_a_page(made_up, tmp_path):
    page = page_of(made_up(deployments={}).write(tmp_path / "run"), tmp_path)
    assert "There is no answer: the run has no experiment." in page.text
    assert "Nothing was measured that could be checked." in page.text
    assert "svg" not in {tag for tag, _ in page.elements}


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"state": "cancelled"}, "was cancelled"),
        ({"state": "running"}, "was killed"),
        ({"simulated": True}, "from a simulator"),
    ],
)
def test_what_is_not_a_whole_or_a_real_run_says_so(made_up, tmp_path, shape, words):
    assert words in page_of(made_up(requests=20, **shape).write(tmp_path / "run"), tmp_path).text


def test_forty_experiments_stay_apart(made_up, tmp_path):
    run = made_up(
        deployments={"gpu": PRICED, "neuron": FAST},
        loads=[("concurrency", n) for n in (1, 2, 4, 8)],
        prompt_sets={f"{low} to {low + 499}": (low, low + 499) for low in (1, 500, 1000, 1500, 2000)},
        requests=30,
    )
    result = run.write(tmp_path / "run")
    page = page_of(result, tmp_path)
    rows = page.rows('id="summary"')
    assert len({tuple(row[:3]) for row in rows}) == len(rows) == 40
    assert len(page.html) < 2_500_000
    test_ids_are_unique_and_what_they_refer_to_is_there(page)


def test_the_same_result_is_the_same_page(result, page, tmp_path):
    assert page_of(result, tmp_path).html == page.html
