import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import FACTS, random_core, thrust, write_labels, write_people

from src.config import Evaluate, load
from src.evaluate import unproven, work
from src.motion.faults import FAULT_KEYS, FAULTS, QUANTITIES
from src.motion.labels import LabelError
from src.motion.model import save_model
from src.motion.truth import TRAITS
from src.report.numbers import surely_right
from src.report.tables import BEGIN, END

PEOPLE = {"train": ["p0", "p1"], "validation": ["p2"], "test": ["p3", "p4", "p5", "q0", "q1", "q2"]}


def prepared(folder):
    """Tracks of two folders, a random model that knows who was a test person, and a README."""
    write_people(folder / "poses" / "simulated", 6)
    write_people(folder / "poses" / "gym", 3, prefix="q")
    save_model(folder / "models" / "model.pt", random_core(), {"channels": 8, "blocks": 3}, FACTS | {"people": PEOPLE})
    (folder / "README.md").write_text(f"# before\n{BEGIN}\nold\n{END}\nafter \\1\n")
    return replace(
        load(Evaluate), poses_dir=folder / "poses", models_dir=folder / "models", reports_dir=folder / "reports",
        readme=str(folder / "README.md"), bootstrap=20, kernels=840, proof="simulated",
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return prepared(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Settings of a run that is over; tests only read its files."""
    settings = prepared(tmp_path_factory.mktemp("done"))
    work(settings)
    return settings


def strict(path):
    """JSON as the rest of the world reads it: no NaN."""

    def refuse(word):
        raise ValueError(f"{path.name} holds {word}, which is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def read_report(settings):
    return strict(settings.reports_dir / "evaluate.json")


def test_the_report_is_json_and_every_number_is_one(done):
    report = read_report(done)
    assert set(report["folders"]) == {"simulated", "gym"} and report["data"]
    assert report["proof"]["people"] == 1 and not report["proof"]["kept"]
    assert report["proof"]["faults"]["feet_too_far"]["prevalence"] == 0.5
    for part in report["folders"].values():
        assert part["people"] == 3 and set(part["faults"]) == set(FAULT_KEYS) == set(part["clips"])
        assert part["counting"]["clips"] == 6 and part["counting"]["exact_share"] in (1.0, None)
        for fault in part["faults"].values():
            for name in ("average_precision", "f1", "precision", "recall", "ece"):
                number = fault[name]
                if number["value"] is not None:
                    assert 0.0 <= number["low"] <= number["high"] <= 1.0 and 0.0 <= number["value"] <= 1.0
            assert fault["decided_share"] is None or 0.0 <= fault["decided_share"] <= 1.0
        tuck, far = part["faults"]["tuck"], part["faults"]["feet_too_far"]
        assert tuck["positives"] == 0 and tuck["average_precision"]["value"] is None
        assert far["reps"] == 12 and far["positives"] == 6 and far["people"] == 3
        assert part["clips"]["feet_too_far"]["clips"] == 6 and part["clips"]["feet_too_far"]["positives"] == 3


def test_baselines_stand_beside_the_model_where_they_can_judge(done):
    for part in read_report(done)["folders"].values():
        for key in ("feet_too_far", "partial_range"):
            baselines = part["faults"][key]["baselines"]
            assert set(baselines) == {"angle rules", "logistic regression", "MiniROCKET"}
            for (
                name,
                numbers,
            ) in baselines.items():  # far feet and short lifts are easy here: a blind baseline is broken
                assert numbers["average_precision"]["value"] == pytest.approx(1.0), name
                gap = part["faults"][key]["average_precision"]["value"] - numbers["average_precision"]["value"]
                assert numbers["model_ahead"]["value"] == pytest.approx(gap)
            assert baselines["angle rules"]["f1"]["value"] == pytest.approx(1.0)
        assert part["faults"]["tuck"]["baselines"] == {}  # no angle shows it, and no training person does it


def test_strata_and_severity_need_the_truth(settings):
    cues = {cue.quantity: cue for cue in FAULTS[FAULT_KEYS.index("feet_too_far")].cues}
    lines = [",".join(("clip", "load", "start_s", "end_s", "plate_m", "fps_hz", *QUANTITIES, *TRAITS))]
    for person, clip, start in product(
        range(6), (0, 1), (0.8, 3.8)
    ):  # every second clip: far by a step, with a big plate
        traits = [0.4 + 0.06 * (trait == "bench_m" and person == 4) for trait in TRAITS]  # thighs as long as trunks
        far = [c.absent + (3 * clip - 1) * (c.present - c.absent) if (c := cues.get(q)) else 0 for q in QUANTITIES]
        row = (f"p{person}_{clip}.mp4", "barbell" if clip else "none", start, start + 3, 0.45 * clip, 20, *far, *traits)
        lines.append(",".join(map(str, row)))
    (settings.poses_dir / "simulated" / "truth.csv").write_text("\n".join(lines) + "\n")
    work(settings)
    folders = read_report(settings)["folders"]
    assert set(folders["gym"]["strata"]) == {"side view", "back seen"}
    strata = folders["simulated"]["strata"]
    assert {name: part["reps"] for name, part in strata.items()} == {
        "side view, no plates": 6, "side view": 12, "no plates": 6, "bigger plates": 6, "side view, bigger plates": 6,
        "20 to 40 Hz": 12, "back seen": 12,
    }  # fmt: skip
    told = folders["simulated"]["confounders"]
    assert {name: (c["people"], c["faults"]["feet_too_far"]["reps"]) for name, c in told.items()} == {
        "everybody": (3, 6), "long thighs": (3, 6), "high bench": (1, 2), "wide stance": (3, 6), "belly": (3, 6),
        "loose shirt": (3, 6), "head back": (3, 6),
    }  # fmt: skip
    assert (
        folders["gym"]["confounders"] == {}
        and "| high bench | 1 |" in (settings.reports_dir / "model_card.md").read_text()
    )
    assert strata["bigger plates"]["faults"]["feet_too_far"]["positives"] == 6
    assert strata["no plates"]["faults"]["feet_too_far"]["positives"] == 0
    far = folders["simulated"]["faults"]["feet_too_far"]["severity"]
    assert [(step["severity"], step["reps"]) for step in far["all"]] == [(-1.0, 6), (2.0, 6)]
    assert [step["reps"] for step in far["no plates"]] == [6]
    assert folders["gym"]["faults"]["feet_too_far"]["severity"]["all"] == []
    names = {p.name for p in settings.reports_dir.rglob("severity_*.png")}
    assert names == {"severity_simulated.png"}


def numbers_in(value):
    """All numbers of a report in order, -1 for null."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        yield from numbers_in(part)
    if value is None or isinstance(value, int | float):
        yield -1.0 if value is None else float(value)


def test_figures_tables_and_card_keep_origins_apart(done):
    assert {p.name for p in done.reports_dir.rglob("*.png")} == {
        f"{figure}_{folder}.png" for figure in ("reliability", "risk_coverage") for folder in ("simulated", "gym")
    }
    page = (done.reports_dir.parent / "README.md").read_text()
    assert page.startswith(f"# before\n{BEGIN}\n") and page.endswith(f"{END}\nafter \\1\n") and "old" not in page
    assert page.count("unseen in training") == 2 and "own footage: gym" in page and "simulated keypoints" in page
    card = (done.reports_dir / "model_card.md").read_text()
    assert "no medical device" in card and card.count("### ") == 2 and "nan" not in card
    for line in page.splitlines():  # the README's rows, numbers and all, stand in the card
        assert not line.startswith("| `") or line in card
    first, pages = list(numbers_in(read_report(done))), [path.read_text() for path in done.reports_dir.glob("*.md")]
    work(done)
    assert list(numbers_in(read_report(done))) == pytest.approx(first, abs=1e-5)
    assert [path.read_text() for path in done.reports_dir.glob("*.md")] == pages
    assert (done.reports_dir.parent / "README.md").read_text() == page


def without_baselines(value):
    """A part of the report without what is fitted on training people."""
    if not isinstance(value, dict):
        return value
    return {key: without_baselines(inner) for key, inner in value.items() if key != "baselines"}


def test_only_test_people_are_judged(done, settings):
    for clip in (0, 1):
        thrust(2, 20.0, 190.0).save(settings.poses_dir / "simulated" / f"p0_{clip}.npz")  # a training person changes
    work(settings)
    before, after = (without_baselines(read_report(run)["folders"]) for run in (done, settings))
    np.testing.assert_equal(after, before)


def judged(right, prevalence, people=40):
    return {"right_by_person": right, "prevalence": prevalence, "claimed_people": people}


@pytest.mark.parametrize(("fault", "never"), [
    (judged(0.8, 0.2), False),
    (judged(0.6, 0.2), True),  # of 40 people 24: by the lower end 0.43
    (judged(0.0, 0.1), True),
    (judged(float("nan"), 0.2, 0), True),  # no claim made
    (judged(0.8, 0.75), True),  # no better than to claim it of everybody
    (judged(1.0, 0.2, 5), True),  # all claims of five people are no proof
    (judged(1.0, 0.2, 6), False),
])  # fmt: skip
def test_a_fault_whose_claims_failed_is_never_judged(settings, fault, never):
    fault = fault | {"surely_right": surely_right(fault)}
    assert unproven({"tuck": fault}, settings) == ["tuck"] * never


def test_a_proof_that_nobody_can_give_is_refused_by_name(settings):
    with pytest.raises(LabelError, match=r"proof=detected/typo.*simulated"):
        work(replace(settings, proof="detected/typo"))
    work(replace(settings, proof=""))
    assert read_report(settings)["proof"]["never_judged"] == []


def test_people_kept_for_proof_prove_and_stand_beside_test_people(settings):
    kept = PEOPLE | {"test": [p for p in PEOPLE["test"] if p != "p5"], "proof": ["p5"]}
    shape = {"channels": 8, "blocks": 3}
    save_model(settings.models_dir / "model.pt", random_core(), shape, FACTS | {"people": kept})
    work(settings)
    report = read_report(settings)
    assert report["proof"]["kept"] and report["proof"]["people"] == 1
    assert report["folders"]["simulated"]["people"] == 3
    assert "1 people kept for this alone" in (settings.reports_dir / "model_card.md").read_text()
    save_model(settings.models_dir / "model.pt", random_core(), shape, FACTS | {"people": PEOPLE | {"proof": ["p3"]}})
    with pytest.raises(LabelError, match="p3 in test and another split"):
        work(settings)


def test_the_card_says_which_faults_are_decided_and_why(done):
    card, proof = (done.reports_dir / "model_card.md").read_text(), read_report(done)["proof"]
    section = card.partition("## What the exported core decides")[2].partition("## Data")[0]
    for key in FAULT_KEYS:
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{key}`")]
        assert row.endswith("| no |" if key in proof["never_judged"] else "| yes |")


def test_a_person_in_training_and_test_is_refused(settings):
    people = PEOPLE | {"train": ["p0", "p3"]}
    save_model(
        settings.models_dir / "model.pt", random_core(), {"channels": 8, "blocks": 3}, FACTS | {"people": people}
    )
    with pytest.raises(LabelError, match="p3"):
        work(settings)


def test_a_model_whose_people_left_is_refused(settings):
    people = PEOPLE | {"test": ["nobody"]}
    save_model(
        settings.models_dir / "model.pt", random_core(), {"channels": 8, "blocks": 3}, FACTS | {"people": people}
    )
    with pytest.raises(LabelError, match="no labelled rep of its test people"):
        work(settings)


def test_a_clip_without_found_reps_counts_against_the_counting(settings):
    still = thrust(0, 20.0)
    still.save(settings.poses_dir / "gym" / "q0_0.npz")
    rows = [
        {"clip": f"q{i}_0.mp4", "subject": f"q{i}", "start_s": "1", "end_s": "3", "feet_too_far": str(i % 2)}
        for i in range(3)
    ]
    write_labels(settings.poses_dir / "gym", rows)
    work(settings)
    reps = read_report(settings)["folders"]["gym"]["counting"]
    assert reps["clips"] == 3 and reps["exact_share"] < 1.0 and reps["found_share"] < 1.0


def test_a_folder_where_no_rep_was_found_does_not_vanish(settings):
    rows = [
        {"clip": f"r{i}.mp4", "subject": f"q{i}", "start_s": "1", "end_s": "3", "feet_too_far": "0"} for i in range(3)
    ]
    for i in range(3):
        thrust(0, 20.0).save(settings.poses_dir / "hall" / f"r{i}.npz")
    write_labels(settings.poses_dir / "hall", rows)
    work(settings)
    reps = read_report(settings)["folders"]["hall"]["counting"]
    assert reps["clips"] == 3 and reps["exact_share"] == 0.0


def test_a_folder_with_one_kind_of_label_only_is_reported_without_a_score(settings):
    rows = [{"clip": f"q{i}_0.mp4", "subject": f"q{i}", "feet_too_far": "0"} for i in range(3)]
    write_labels(settings.poses_dir / "gym", rows)
    work(settings)
    part = read_report(settings)["folders"]["gym"]
    assert part["faults"]["feet_too_far"]["reps"] == 6 and part["faults"]["overarch"]["reps"] == 0


def test_clips_of_training_people_do_not_count_even_with_equal_names(settings):
    gym = settings.poses_dir / "gym"
    # training person p0 was also filmed in the gym, under names that a test person's clips have elsewhere
    for clip in (0, 1):
        thrust(2, 20.0).save(gym / f"p3_{clip}.npz")
    rows = [{"clip": f"q{i}_{c}.mp4", "subject": f"q{i}", "feet_too_far": str(c)} for i in range(3) for c in (0, 1)]
    write_labels(gym, rows + [{"clip": f"p3_{c}.mp4", "subject": "p0", "feet_too_far": "0"} for c in (0, 1)])
    work(settings)
    assert read_report(settings)["folders"]["gym"]["counting"]["clips"] == 6
