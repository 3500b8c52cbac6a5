from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.motion.dataset import Count
from src.motion.faults import FAULT_KEYS
from src.report.judged import Judged
from src.report.numbers import (
    above,
    claims_by_person,
    confidence,
    decided,
    hidden,
    judge_counts,
    known_scores,
    surely_right,
    thresholds_of,
)

NAN = float("nan")


def test_counting_reps_by_hand():
    counts = [
        Count(clip, "x", "q", "side", *numbers)
        for clip, numbers in (("a", (3, 3, 3)), ("b", (2, 4, 2)), ("c", (5, 0, 0)), ("untimed", (None, 7, 7)))
    ]
    assert judge_counts(counts, {"c", "untimed"}) == {
        "clips": 4,
        "timed_clips": 3,
        "exact_share": pytest.approx(1 / 3),
        "sure_clips": 2,
        "sure_exact_share": 0.5,
        "found_share": 0.5,
        "extra": 2,
    }


def test_decisions_by_hand():
    labels, decisions = np.array([1.0, 1.0, 0.0, 0.0, NAN]), np.array([1.0, NAN, 1.0, 0.0, 1.0])
    assert decided(labels, decisions) == {
        "decided_share": 0.75,
        "decided_risk": pytest.approx(1 / 3),
        "claims": 2,
        "claim_precision": 0.5,
        "claim_recall": 0.5,
    }
    nothing = decided(labels, np.full(5, NAN))
    assert nothing["decided_share"] == 0.0 and np.isnan(nothing["decided_risk"]) and nothing["claims"] == 0


def test_the_claims_of_one_person_are_one_proof():
    labels = np.array([[1.0], [1.0], [0.0], [0.0], [NAN], [1.0]])
    claimed = np.array([[1.0], [1.0], [1.0], [1.0], [1.0], [0.0]])
    samples = [SimpleNamespace(subject=person) for person in "aaabcd"]
    judged = Judged(samples, [None] * 6, labels, claimed, np.ones((6, 1), bool), {}, ("tuck",))
    assert claims_by_person(judged, 0) == {"claimed_people": 2, "right_by_person": pytest.approx(1 / 3)}


@pytest.mark.parametrize(("right", "count", "least"), [
    (0, 0, 0.0), (0, 9, 0.0), (1, 1, 0.025), (4, 4, 0.398), (5, 5, 0.478), (6, 6, 0.541), (11, 12, 0.615), (10, 13, 0.462),
])  # fmt: skip
def test_how_surely_a_share_is_right(right, count, least):
    def fault(whole):
        return {"claimed_people": count, "right_by_person": whole / count if count else NAN}

    assert surely_right(fault(right)) == pytest.approx(least, abs=5e-4)  # as in tables of the exact interval
    if right < count:
        assert surely_right(fault(right + 0.5)) == surely_right(fault(right))


def test_who_saw_nothing_is_ranked_last_and_never_chosen():
    labels, scores = np.array([[1.0], [0.0], [1.0]]), np.array([[3.0], [NAN], [1.0]])
    assert known_scores(scores[:, 0]).tolist() == [3.0, 0.0, 1.0]
    assert thresholds_of(labels, {"judge": scores})["judge"] == pytest.approx([0.5])


@given(p=st.floats(0.0, 1.0), threshold=st.floats(0.01, 0.99))
def test_confidence_is_nothing_at_the_threshold_and_grows_away_from_it(p, threshold):
    near, far = confidence(np.array([threshold + 0.5 * (p - threshold), p]), threshold)
    assert 0.0 <= near <= far and confidence(np.array([threshold]), threshold) == pytest.approx(0.0)


def test_a_baseline_is_above_only_by_what_two_decimals_show():
    assert not above({"model_ahead": {"value": -0.004}}) and above({"model_ahead": {"value": -0.006}})
    assert not above({"model_ahead": {"value": NAN}})


def test_decisions_about_what_the_view_hides_are_counted():
    seen, behind_plates = np.ones(4), np.array([0.0, 0.0, 1.0, 1.0])
    samples = [SimpleNamespace(view=view, observable=seen) for view in ("side", "frontal", "oblique", "")]
    decisions = np.array([[0.0] * 4, [NAN] * 4, [1.0] * 4, [1.0] * 4])
    judged = Judged(samples, [None] * 4, decisions, decisions, np.isfinite(decisions), {})
    assert hidden(judged, FAULT_KEYS.index("tuck")) == {"reps": 2, "decided_share": 0.5}
    assert hidden(judged, FAULT_KEYS.index("feet_too_far")) == {"reps": 1, "decided_share": 0.0}
    samples[0].observable = behind_plates
    assert hidden(judged, FAULT_KEYS.index("tuck")) == {"reps": 3, "decided_share": pytest.approx(2 / 3)}
