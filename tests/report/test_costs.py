import numpy as np
import pytest
from conftest import FACTS, random_core, thrust

from src.motion.changes import at_tempo
from src.motion.labels import Label
from src.motion.verdict import judge_track
from src.report.costs import Scores, compare, label_scores
from src.report.judged import Checkpoint

REPS = [Label("a.mp4", "p", 0.8 + 3 * i, 3.6 + 3 * i, (0.0, 0.0, float(i), 0.0), "side") for i in range(2)]
SCORER = Checkpoint(random_core(), FACTS)


def test_each_label_gets_its_rep_and_a_lost_one_gets_nothing():
    verdict = judge_track("a.mp4", thrust(2, 30.0), SCORER)
    late = Label("a.mp4", "p", 20.0, 23.0, (0.0, 0.0, 0.0, 0.0), "side")
    scores = label_scores(verdict, [REPS[1], late, REPS[0]])
    assert scores.found.tolist() == [True, False, True] and (scores.p[1] == 0).all()
    for row, rep in ((0, verdict.reps[1]), (2, verdict.reps[0])):
        assert scores.p[row].tolist() == list(rep.probabilities.values())


def test_labels_follow_the_tempo():
    slow = judge_track("a.mp4", at_tempo(thrust(2, 30.0, noise_px=2.0), 2.0), SCORER)
    first, second = (list(rep.probabilities.values()) for rep in slow.reps)
    assert label_scores(slow, REPS, 2.0).p.tolist() == [first, second]
    assert label_scores(slow, REPS[1:]).p.tolist() == [first]  # what lies there without the tempo


def rows(people, far, view="side"):
    return {
        f"{i}.mp4": [Label(f"{i}.mp4", f"p{i}", 0.0, 1.0, (np.nan, 0.0, float(far(i)), np.nan), view)]
        for i in range(people)
    }


def test_costs_by_hand():
    clips = rows(6, lambda i: i < 3)
    before = Scores(np.tile([[0.0], [0.0], [0.9], [0.0]], 6).T.copy(), np.ones(6, dtype=bool))
    before.p[3:, 2] = 0.1
    after = Scores(before.p.copy(), before.found.copy())
    after.p[0, 2], after.found[0] = 0.0, False  # one far rep of three is lost
    cost = compare(clips, before, after, np.full(4, 0.5), 200, 0)
    assert (cost["clips"], cost["people"], cost["reps"], cost["found_before"], cost["found_after"]) == (6, 6, 6, 6, 5)
    assert cost["f1"]["before"] == 1.0 and cost["f1"]["after"] == pytest.approx(0.8)
    assert cost["f1"]["difference"] == pytest.approx(-0.2) and cost["f1"]["low"] <= -0.2 <= cost["f1"]["high"] <= 0.0
    assert cost["average_precision"]["after"] == pytest.approx((1 + 1 + 3 / 6) / 3)


def test_what_the_view_hides_is_no_cost():
    clips = rows(4, lambda i: i < 2, "frontal")
    scores = Scores(np.zeros((4, 4)), np.ones(4, dtype=bool))
    assert np.isnan(compare(clips, scores, scores, np.full(4, 0.5), 5, 0)["f1"]["difference"])
