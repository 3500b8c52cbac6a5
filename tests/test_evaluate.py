import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import FACTS, random_core, thrust, write_labels, write_people

from src.config import Evaluate, load
from src.evaluate import BEGIN, END, judge_reps, work, write_readme
from src.motion.dataset import Count, LabelError
from src.motion.faults import FAULT_KEYS
from src.motion.model import save_model

PEOPLE = {"train": ["p0", "p1"], "validation": ["p2"], "test": ["p3", "p4", "p5", "q0", "q1", "q2"]}


@pytest.fixture
def settings(tmp_path):
    """Tracks of two folders, a random model that knows who was a test person, and a README."""
    write_people(tmp_path / "poses" / "simulated", 6)
    write_people(tmp_path / "poses" / "gym", 3, prefix="q")
    save_model(
        tmp_path / "models" / "model.pt", random_core(), {"channels": 8, "blocks": 3}, FACTS | {"people": PEOPLE}
    )
    (tmp_path / "README.md").write_text(f"# before\n{BEGIN}\nold\n{END}\nafter \\1\n")
    return replace(
        load(Evaluate), poses_dir=tmp_path / "poses", models_dir=tmp_path / "models", reports_dir=tmp_path / "reports",
        readme=str(tmp_path / "README.md"), bootstrap=20,
    )  # fmt: skip


def strict(path):
    """JSON as the rest of the world reads it: no NaN."""

    def refuse(word):
        raise ValueError(f"{path.name} holds {word}, which is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_the_report_is_json_and_every_number_is_one(settings):
    work(settings)
    report = strict(settings.reports_dir / "evaluate.json")
    assert set(report["folders"]) == {"simulated", "gym"} and report["data"]
    for part in report["folders"].values():
        assert part["people"] == 3 and set(part["faults"]) == set(FAULT_KEYS)
        assert part["reps"]["clips"] == 6 and part["reps"]["exact_share"] in (1.0, None)
        for fault in part["faults"].values():
            for name in ("average_precision", "f1"):
                number = fault[name]
                if number["value"] is not None:
                    assert 0.0 <= number["low"] <= number["high"] <= 1.0 and 0.0 <= number["value"] <= 1.0
            assert fault["ece"] is None or 0.0 <= fault["ece"] <= 1.0
        tuck, far = part["faults"]["tuck"], part["faults"]["feet_too_far"]
        assert tuck["positives"] == 0 and tuck["average_precision"]["value"] is None
        assert far["reps"] == 12 and far["positives"] == 6 and far["people"] == 3


def test_angle_rules_see_what_angles_show(settings):
    work(settings)
    report = json.loads((settings.reports_dir / "evaluate.json").read_text())
    for part in report["folders"].values():
        for key in ("feet_too_far", "partial_range"):
            assert part["faults"][key]["rule_average_precision"] == pytest.approx(1.0)
            assert part["faults"][key]["rule_f1"] == pytest.approx(1.0)


def test_figures_and_tables_keep_origins_apart(settings):
    work(settings)
    assert {p.name for p in settings.reports_dir.rglob("*.png")} == {"reliability_simulated.png", "reliability_gym.png"}
    page = (settings.reports_dir.parent / "README.md").read_text()
    assert page.startswith(f"# before\n{BEGIN}\n") and page.endswith(f"{END}\nafter \\1\n") and "old" not in page
    assert page.count("unseen in training") == 2 and "own footage: gym" in page and "simulated keypoints" in page
    first = (settings.reports_dir / "evaluate.json").read_text()
    work(settings)
    assert (settings.reports_dir / "evaluate.json").read_text() == first
    assert (settings.reports_dir.parent / "README.md").read_text() == page


def test_only_test_people_are_judged(settings):
    work(settings)
    before = json.loads((settings.reports_dir / "evaluate.json").read_text())["folders"]
    for clip in (0, 1):
        thrust(2, 20.0, 190.0).save(settings.poses_dir / "simulated" / f"p0_{clip}.npz")  # a training person changes
    work(settings)
    after = json.loads((settings.reports_dir / "evaluate.json").read_text())["folders"]
    np.testing.assert_equal(after, before)


def test_a_person_in_training_and_test_is_refused(settings):
    people = PEOPLE | {"train": ["p0", "p3"]}
    save_model(
        settings.models_dir / "model.pt", random_core(), {"channels": 8, "blocks": 3}, FACTS | {"people": people}
    )
    with pytest.raises(LabelError, match="p3"):
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
    reps = json.loads((settings.reports_dir / "evaluate.json").read_text())["folders"]["gym"]["reps"]
    assert reps["clips"] == 3 and reps["exact_share"] < 1.0 and reps["found_share"] < 1.0


def test_a_folder_where_no_rep_was_found_does_not_vanish(settings):
    rows = [
        {"clip": f"r{i}.mp4", "subject": f"q{i}", "start_s": "1", "end_s": "3", "feet_too_far": "0"} for i in range(3)
    ]
    for i in range(3):
        thrust(0, 20.0).save(settings.poses_dir / "hall" / f"r{i}.npz")
    write_labels(settings.poses_dir / "hall", rows)
    work(settings)
    reps = json.loads((settings.reports_dir / "evaluate.json").read_text())["folders"]["hall"]["reps"]
    assert reps["clips"] == 3 and reps["exact_share"] == 0.0


def test_a_folder_with_one_kind_of_label_only_is_reported_without_a_score(settings):
    rows = [{"clip": f"q{i}_0.mp4", "subject": f"q{i}", "feet_too_far": "0"} for i in range(3)]
    write_labels(settings.poses_dir / "gym", rows)
    work(settings)
    part = json.loads((settings.reports_dir / "evaluate.json").read_text())["folders"]["gym"]
    assert part["faults"]["feet_too_far"]["reps"] == 6 and part["faults"]["overarch"]["reps"] == 0


def test_clips_of_training_people_do_not_count_even_with_equal_names(settings):
    gym = settings.poses_dir / "gym"
    # training person p0 was also filmed in the gym, under names that a test person's clips have elsewhere
    for clip in (0, 1):
        thrust(2, 20.0).save(gym / f"p3_{clip}.npz")
    rows = [{"clip": f"q{i}_{c}.mp4", "subject": f"q{i}", "feet_too_far": str(c)} for i in range(3) for c in (0, 1)]
    write_labels(gym, rows + [{"clip": f"p3_{c}.mp4", "subject": "p0", "feet_too_far": "0"} for c in (0, 1)])
    work(settings)
    assert json.loads((settings.reports_dir / "evaluate.json").read_text())["folders"]["gym"]["reps"]["clips"] == 6


def test_counting_reps_by_hand():
    counts = [
        Count(clip, "x", "q", "side", *numbers)
        for clip, numbers in (("a", (3, 3, 3)), ("b", (2, 4, 2)), ("c", (5, 0, 0)), ("untimed", (None, 7, 7)))
    ]
    assert judge_reps(counts) == {
        "clips": 4,
        "timed_clips": 3,
        "exact_share": pytest.approx(1 / 3),
        "found_share": 0.5,
        "extra": 2,
    }


def test_a_readme_without_markers_is_named_and_untouched(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("nothing here")
    with pytest.raises(LabelError, match="README.md"):
        write_readme(path, "table")
    assert path.read_text() == "nothing here"
