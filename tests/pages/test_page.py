"""A page as a person meets it: in a browser, from a folder, without a network."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import torch
from conftest import ROOT, thrust

from src import predict
from src.batch.records import write_text
from src.motion.faults import FAULTS
from src.motion.verdict import Scorer, judge_track
from src.pages import page as pages
from src.pages.charts import hip_curve
from src.pages.page import Source, clock, page_folder, write_index, write_page
from src.pages.words import findings, headline, told_apart

pytest_plugins = ["browser"]

CPU = torch.device("cpu")
NAME = "day 1/50% <b>ü#1?.mp4"


@pytest.fixture(scope="module")
def report(lifter, tmp_path_factory):
    """``report/`` of a run over one judged clip with an odd name and one that is no video."""
    folder = tmp_path_factory.mktemp("report")
    film, text = folder / "in" / NAME, folder / "in" / "day 1/text.mp4"
    film.parent.mkdir(parents=True)
    film.write_bytes(lifter.read_bytes())
    text.write_text("no video")
    options = [
        "--out",
        folder / "out",
        "--core",
        ROOT / "data/models/core.pt",
        "--device",
        "cpu",
        "--report",
        "--quiet",
    ]
    weights = ["--weights", ROOT / "data/weights", "--workers", "0"]
    args = predict.parser().parse_args([str(a) for a in [folder / "in", *options, *weights]])
    results = predict.run(args, lambda line: None)
    assert [row["status"] for row in results.rows] == ["ok", "unreadable"]
    return folder / "out" / "report"


def test_a_page_says_which_model_on_which_data(report):
    model = json.loads(next((report.parent / "json").glob("*50*")).read_text())["model"]
    html = next(path.read_text() for path in report.rglob("index.html") if "Trained on data" in path.read_text())
    assert f"<dd>{model['data']}</dd>" in html and f"code {model['revision']}<" in html


class Links(HTMLParser):
    """Every address of a page."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src") and value != "data:,"]


def test_every_link_is_relative_and_leads_somewhere(report):
    page = next(report.glob("*/index.html"))
    for html in (report / "index.html", page):
        links = Links(html.read_text(encoding="utf-8")).found
        assert len(links) > 1
        for link in links:
            assert not re.match(r"[a-z]+:|//", link), link
            if not link.startswith("#"):
                assert (html.parent / unquote(link)).is_file(), link


def test_names_are_text_and_never_markup(report):
    for html in (report / "index.html", next(report.glob("*/index.html"))):
        text = html.read_text(encoding="utf-8")
        assert "<b>ü#1" not in text and "&lt;b&gt;ü#1?.mp4" in text


OPEN = {"thresholds": {fault.key: {"absent": 0.4, "present": 0.6} for fault in FAULTS}}


def verdict_of(track, **changes):
    scorer = Scorer(ROOT / "data/models/core.pt", CPU)
    return replace(judge_track("a.mp4", track, scorer), **changes), scorer.metadata


@pytest.mark.parametrize(
    ("decision", "p", "word", "says"),
    [
        (1, 0.9, "Fault", "at or above 0.60"),
        (0, 0.1, "Not seen", "below 0.40"),
        (None, 0.5, "No claim", "too close to say"),
    ],
)
def test_a_fault_is_told_with_its_probability_and_limits(decision, p, word, says):
    verdict, _ = verdict_of(thrust(2))
    key = "feet_too_far"
    verdict = replace(
        verdict, decisions=verdict.decisions | {key: decision}, probabilities=verdict.probabilities | {key: p}
    )
    found = {item.fault.key: item for item in findings(verdict, OPEN)}[key]
    assert found.verdict == word and says in found.why and "Knee angle at lockout" in " ".join(found.cues)
    assert ("Feet too far" in headline(verdict)) == (decision == 1)


@pytest.mark.parametrize(
    ("p", "limits", "said"),
    [
        (0.3, (0.1, 0.5), ["0.30", "0.10", "0.50"]),
        (0.002, (0.06, 0.5), ["<0.01", "0.06", "0.50"]),
        (0.998, (0.06, 0.5), [">0.99", "0.06", "0.50"]),
        (0.1961, (0.1968, 0.5), ["0.196", "0.197", "0.500"]),
        (0.5, (0.1, 0.5), ["0.5000", "0.1000", "0.5000"]),
    ],
)
def test_a_probability_is_neither_certain_nor_equal_to_a_limit_that_it_misses(p, limits, said):
    assert told_apart(p, *limits) == said


def test_times_carry_into_the_minute():
    assert [clock(s) for s in (0.0, 9.96, 59.94, 59.96, 61.25)] == ["0:00.0", "0:10.0", "0:59.9", "1:00.0", "1:01.2"]


def test_a_number_beyond_its_limit_is_named_where_the_fault_is_denied():
    verdict, _ = verdict_of(thrust(2))
    key = "feet_too_far"
    verdict = replace(verdict, decisions=verdict.decisions | {key: 0}, probabilities=verdict.probabilities | {key: 0.1})
    for knee_deg, named in ((90.0, False), (141.0, True)):
        measures = replace(verdict.reps[1].measures, bend_top_deg=knee_deg, lean_top_deg=0.0)
        first = replace(verdict.reps[0], measures=replace(measures, bend_top_deg=90.0))
        changed = replace(verdict, reps=(first, replace(verdict.reps[1], measures=measures)))
        (found,) = (item for item in findings(changed, OPEN) if item.fault.key == key)
        assert ("beyond its limit" in found.why) == named


def test_a_hidden_fault_is_not_blamed_on_a_view_that_is_right():
    verdict, _ = verdict_of(thrust(2))
    unseen = [replace(rep, observability=dict.fromkeys(rep.observability, 0.1)) for rep in verdict.reps]
    nothing = dict.fromkeys(verdict.decisions)
    for view, says in (("side", "plates, arms or clothes"), ("frontal", "it is judged from the side")):
        changed = replace(verdict, status="ok", view=view, reps=tuple(unseen), decisions=nothing)
        assert all(says in item.why for item in findings(changed, OPEN))
        for item in findings(changed, OPEN):
            assert ("arms crossed" in item.why) == (view == "side" and item.fault.views == ("side",))
        assert headline(changed) == "None of the four faults could be judged."


def test_a_bridge_on_the_floor_is_named_where_its_spine_is_not_judged():
    for bench in (True, False):
        verdict, _ = verdict_of(thrust(2, bench=bench))
        unseen = tuple(replace(rep, observability=dict.fromkeys(rep.observability, 0.1)) for rep in verdict.reps)
        changed = replace(verdict, status="ok", reps=unseen, decisions=dict.fromkeys(verdict.decisions))
        for item in findings(changed, OPEN):
            assert item.why.startswith("A bridge") == (not bench and item.fault.views == ("side",))


def test_what_cannot_be_seen_is_called_not_observable():
    verdict, _ = verdict_of(thrust(2, width_m=0.6))
    assert verdict.status == "view_not_observable" and headline(verdict).startswith("From this view")
    for item in findings(verdict, OPEN):
        assert item.verdict == "Not observable" and item.kind == "open"


def test_of_a_fault_that_is_never_judged_no_page_shows_a_probability(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "annotate", lambda *_: None)
    verdict, model = verdict_of(thrust(2))
    bands = OPEN["thresholds"] | {"tuck": {"absent": 0.0, "present": 1.01}}
    likely, hardly = (replace(verdict, probabilities=verdict.probabilities | {"tuck": p}) for p in (0.87, 0.13))
    found = {item.fault.key: item for item in findings(likely, {"thresholds": bands})}
    assert found.pop("tuck").p is None and all(item.p is not None for item in found.values())
    shown = []
    for one in (likely, hardly):
        write_page(tmp_path, one, thrust(2), model | {"thresholds": bands}, Source(tmp_path, 30.0, False))
        shown.append((tmp_path / "report/a.mp4/index.html").read_text())
    html = shown[0]
    assert html == shown[1] and "Never judged" in html and "Evidence of tucked pelvis" not in html
    assert "Evidence of overarched low back" in html


def test_the_hip_curve_spans_the_clip_and_nobody_has_none():
    track = thrust(2)
    numbers = [float(x) for x in re.findall(r"[ML]([\d.]+) ", hip_curve(track).path)]
    assert len(numbers) == len(track.keypoints) and 0 < numbers[0] < 5 and 995 < numbers[-1] < 1000
    assert numbers == sorted(numbers)
    gone = replace(track, keypoints=track.keypoints * float("nan"))
    assert hip_curve(gone) is None


def test_a_page_without_reps_still_has_its_film_and_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "annotate", lambda *_: None)
    verdict, model = verdict_of(thrust(0))
    write_page(tmp_path, verdict, thrust(0), model, Source(tmp_path, 30.0, False))
    html = (tmp_path / "report/a.mp4/index.html").read_text()
    assert verdict.status == "no_reps" and "hips never rise" in html and 'id="film"' in html


def test_an_index_of_many_clips_links_only_pages(tmp_path):
    row = {"clip": "a.mp4", "status": "ok", "reason": "judged", "reps": 2, "view": "side"} | {f.key: 0 for f in FAULTS}
    rows = [row, row | {"clip": "b 1.mp4", "feet_too_far": 1}, row | {"clip": "c.mp4", "status": "unreadable"}]
    for clip in ("a.mp4", "b 1.mp4", "c.mp4"):
        write_text(page_folder(tmp_path, clip) / "index.html", "")
    write_index(tmp_path, [*rows, row | {"clip": "without a page.mp4", "tuck": 1}])
    html = (tmp_path / "report/index.html").read_text()
    assert [x for x in Links(html).found if x[0] != "#"] == [
        "a.mp4/rep_1.jpg", "a.mp4/index.html", "b%201.mp4/rep_1.jpg", "b%201.mp4/index.html",
    ]  # fmt: skip
    assert html.count("Feet too far") == 1 and html.count("✓ none of the four faults seen") == 1
    write_index(tmp_path, [row | {"tuck": None}])
    html = (tmp_path / "report/index.html").read_text()
    assert "no fault claimed" in html and "not judged: tucked pelvis" in html and "✓" not in html


PLAY = """(async () => { const film = document.querySelector('video'); await film.play();
await new Promise(done => setTimeout(done, 700)); film.pause(); return [film.currentTime, film.videoWidth, film.error]; })()"""


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False)])
def test_the_page_works_in_a_browser_without_a_network(report, browser, width, dark):
    browser.open(next(report.glob("*/index.html")), width, 800, dark)
    seconds, film_px, error = browser.js(PLAY)
    assert seconds > 0.1 and film_px > 0 and error is None
    assert browser.complaints() == []
    assert all(address.startswith(("file:", "data:")) for address in browser.requests())
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    assert browser.js("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    record = next((report.parent / "json").glob("*1?.mp4.json"))
    told = json.loads(record.read_text(encoding="utf-8"))
    reps, judged = len(told["reps"]), [band for band in told["model"]["thresholds"].values() if band["present"] <= 1]
    assert reps > 0 and judged
    counts = {".faults > li": 4, "#hip-curve": 1, ".area": len(judged) * reps}
    counts |= dict.fromkeys((".shots figure", "tbody tr", "button.step"), reps)
    assert {name: browser.js(f"document.querySelectorAll({json.dumps(name)}).length") for name in counts} == counts
    background = browser.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(background) < 60) == dark


def test_keys_alone_reach_a_rep(report, browser):
    browser.open(next(report.glob("*/index.html")))
    browser.press("Tab", 9)
    assert browser.js("document.activeElement.className") == "skip"
    for _ in range(30):
        if browser.js("document.activeElement.matches('button.step')"):
            break
        browser.press("Tab", 9)
    wanted = browser.js("Number(document.activeElement.dataset.seek)")
    browser.press("Enter", 13)
    browser.js("new Promise(done => setTimeout(done, 300))")
    assert wanted > 0 and browser.js("document.querySelector('video').currentTime") == pytest.approx(wanted, abs=0.05)
    left = browser.js("parseFloat(document.querySelector('.play').style.left)")
    assert left == pytest.approx(100 * wanted / browser.js("length"), abs=2.0)


CONTRAST = """(() => {
const linear = x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
const light = colour => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(x => linear(x / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const ground = e => {
  for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)') return colour;
  }
};
const texts = [...document.querySelectorAll('h1,h2,h3,p,li,dt,dd,td,th,.pill,button,a:not(.skip),small,.tick')];
return Math.min(...texts.map(e => {
  const a = light(getComputedStyle(e).color), b = light(ground(e));
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
}));
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_stands_out_from_its_ground(report, browser, dark):
    for html in (report / "index.html", next(report.glob("*/index.html"))):
        browser.open(html, dark=dark)
        assert browser.js(CONTRAST) >= 4.5  # WCAG AA
