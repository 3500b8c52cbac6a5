import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from src.motion.metrics import (
    average_precision,
    balanced,
    best_threshold,
    calibrate,
    chance_calibration_error,
    claim_band,
    expected_calibration_error,
    f1,
    interval,
    precision,
    recall,
    reliability,
    resampled,
    risk_coverage,
    temperature,
)

NAN = float("nan")
ROWS = st.lists(st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 20)), min_size=1, max_size=40)


def split(rows):
    """Labels, scores with many ties, and which labels are known."""
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] / 20 for r in rows])
    return labels, scores, np.isfinite(labels)


@given(ROWS)
def test_average_precision_is_scikit_learns(rows):
    labels, scores, known = split(rows)
    ours = average_precision(labels, scores)
    if 0 < labels[known].sum() < known.sum():
        assert ours == pytest.approx(reference.average_precision_score(labels[known], scores[known]))
        assert 0.0 < ours <= 1.0
    else:
        assert np.isnan(ours)


@given(ROWS)
def test_decision_scores_are_scikit_learns(rows):
    labels, scores, known = split(rows)
    decisions = (scores >= 0.5).astype(float)
    y, d = labels[known], decisions[known]
    for ours, theirs, defined in (
        (f1, reference.f1_score, y.any()),
        (precision, reference.precision_score, d.any()),
        (recall, reference.recall_score, y.any()),
    ):
        value = ours(labels, decisions)
        assert value == pytest.approx(theirs(y, d, zero_division=0)) if defined else np.isnan(value)


@given(ROWS)
def test_masked_labels_weigh_nothing(rows):
    labels, scores, known = split(rows)
    other = np.where(known, scores, 1.0 - scores)
    for metric in (average_precision, f1, precision, recall, expected_calibration_error, best_threshold):
        np.testing.assert_equal(metric(labels, scores), metric(labels, other))


@given(ROWS)
def test_only_the_order_of_scores_makes_average_precision(rows):
    labels, scores, _ = split(rows)
    np.testing.assert_equal(average_precision(labels, np.exp(3 * scores)), average_precision(labels, scores))


@given(ROWS)
def test_calibration_error_is_a_share_and_counts_add_up(rows):
    labels, scores, known = split(rows)
    assume(known.any())
    assert 0.0 <= expected_calibration_error(labels, scores) <= 1.0
    mean, share, count = reliability(labels, scores)
    assert count.sum() == known.sum() and np.isnan(mean[count == 0]).all() and np.isfinite(share[count > 0]).all()
    filled = np.flatnonzero(count)
    assert (mean[filled] >= filled / 10 - 1e-9).all() and (mean[filled] <= (filled + 1) / 10 + 1e-9).all()


def test_calibration_error_by_hand():
    labels = np.array([1.0, 0.0, 0.0, 0.0, 1.0, NAN])
    p = np.array([0.25, 0.25, 0.25, 0.25, 0.95, 0.5])
    assert expected_calibration_error(labels, p) == pytest.approx(0.05 / 5)
    assert expected_calibration_error(labels, 1 - p) == pytest.approx((4 * 0.5 + 0.95) / 5)


@given(ROWS)
def test_no_threshold_beats_the_best(rows):
    labels, scores, known = split(rows)
    assume(0 < labels[known].sum() < known.sum())
    chosen = best_threshold(labels, scores)
    assert 0.0 <= chosen <= 1.0
    best = f1(labels, (scores >= chosen).astype(float))
    assert all(best >= f1(labels, (scores >= t / 40 + 1e-9).astype(float)) - 1e-12 for t in range(-1, 41))


@given(seed=st.integers(0, 999), scale=st.floats(0.2, 3.0), bias=st.floats(-2.0, 2.0))
def test_platt_finds_what_bent_the_logits(seed, scale, bias):
    rng = np.random.default_rng(seed)
    true = rng.normal(0.0, 2.0, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-true))).astype(float)
    labels[rng.random(4000) < 0.1] = NAN
    found_scale, found_bias = calibrate(labels, (true - bias) / scale)
    assert found_scale == pytest.approx(scale, rel=0.2) and found_bias == pytest.approx(bias, abs=0.3)


@given(seed=st.integers(0, 999), size=st.integers(2, 30))
def test_platt_never_does_worse_than_nothing_and_stays_finite(seed, size):
    rng = np.random.default_rng(seed)
    labels, logits = (rng.random(size) < 0.5).astype(float), rng.normal(0.0, 4.0, size)
    scale, bias = calibrate(labels, logits)
    assert np.isfinite([scale, bias]).all()
    smooth = np.where(labels > 0.5, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((1 - labels).sum() + 2))

    def loss(z):
        return np.sum(np.logaddexp(0.0, z) - smooth * z)

    if 0 < labels.sum() < size:
        assert loss(scale * logits + bias) <= loss(logits) + 1e-6
    else:
        assert (scale, bias) == (1.0, 0.0)


def test_separable_validation_people_do_not_blow_up():
    scale, bias = calibrate(np.array([0.0, 0.0, 1.0, 1.0]), np.array([-9.0, -8.0, 8.0, 9.0]))
    assert 0 < scale < 5 and abs(bias) < 5


def test_an_interval_draws_people_not_rows():
    labels = np.array([1.0] * 50 + [0.0] * 50)
    rng = np.random.default_rng(0)

    def mean(rows):
        return float(labels[rows].mean())

    low, high = interval(mean, resampled(["a"] * 50 + ["b"] * 50, 400, rng))
    assert (low, high) == (0.0, 1.0)  # two people: everything is possible
    low, high = interval(mean, resampled([str(i) for i in range(100)], 400, rng))
    assert 0.35 < low < 0.45 and 0.55 < high < 0.65
    assert np.isnan(interval(lambda rows: NAN, resampled(["a"], 5, rng))).all()


@given(seed=st.integers(0, 99))
def test_an_interval_is_seeded_and_in_order(seed):
    values, people = np.random.default_rng(seed).random(12), [f"p{i % 4}" for i in range(12)]
    twice = [
        interval(lambda rows: float(values[rows].mean()), resampled(people, 50, np.random.default_rng(seed)))
        for _ in range(2)
    ]
    assert twice[0] == twice[1] and values.min() <= twice[0][0] <= twice[0][1] <= values.max()


def test_risk_and_coverage_by_hand():
    labels = np.array([1.0, 0.0, NAN, 1.0, 0.0])
    decisions, confidence = np.array([1.0, 1.0, 0.0, 0.0, 0.0]), np.array([9.0, 8.0, 7.0, 3.0, 3.0])
    coverage, risk = risk_coverage(labels, decisions, confidence)
    assert coverage == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert risk == pytest.approx([0.0, 1 / 2, 1.5 / 3, 2 / 4])  # of the two tied, one is wrong: each counts half
    assert [len(part) for part in risk_coverage(np.array([NAN]), np.zeros(1), np.zeros(1))] == [0, 0]


@given(seed=st.integers(0, 99), size=st.integers(2, 40))
def test_the_risk_of_all_is_the_error_rate_whatever_the_confidence(seed, size):
    rng = np.random.default_rng(seed)
    labels, decisions = (rng.integers(0, 2, size).astype(float) for _ in range(2))
    coverage, risk = risk_coverage(labels, decisions, rng.integers(0, 4, size).astype(float))
    assert coverage[-1] == 1.0 and risk[-1] == pytest.approx((labels != decisions).mean())
    assert (risk >= 0).all() and (risk <= 1).all()


def test_the_calibration_error_of_exact_probabilities_shrinks_with_the_sample():
    few, many = (chance_calibration_error(np.tile([0.2, 0.5, 0.8], n)) for n in (10, 4000))
    assert few > 0.05 and many < 0.02
    assert chance_calibration_error(np.array([0.0, 1.0, 1.0])) == 0.0
    assert np.isnan(chance_calibration_error(np.array([NAN])))


@given(ROWS, st.lists(st.integers(1, 3), min_size=40, max_size=40))
def test_a_weight_is_as_many_rows(rows, counts):
    labels, scores, known = split(rows)
    assume(0 < labels[known].sum() < known.sum())
    weights = np.resize(counts, len(labels)).astype(float)
    many = np.repeat(np.arange(len(labels)), weights.astype(int))
    assert best_threshold(labels, scores, weights) == pytest.approx(best_threshold(labels[many], scores[many]))
    assert calibrate(labels, scores, weights) == pytest.approx(
        calibrate(labels[many], scores[many]), rel=1e-6, abs=1e-6
    )


def test_few_rows_of_one_kind_weigh_as_much_as_many_of_another():
    weights = balanced(["simulated"] * 6 + ["detected"] * 2)
    assert weights.mean() == 1.0 and weights[:6].sum() == pytest.approx(weights[6:].sum())
    assert balanced(["own"] * 3).tolist() == [1.0] * 3


@given(ROWS)
def test_a_claim_is_more_likely_right_than_wrong_and_a_denial_too(rows):
    labels, scores, _ = split(rows)
    band = claim_band(labels, scores)
    assert band["present"] == 0.5 >= band["absent"]
    assert band["absent"] == min(0.5, best_threshold(labels, scores))


def test_a_temperature_goes_where_the_weight_is():
    """Half of the rows are sure and right, half are sure and wrong."""
    logits, which = np.tile([2.0, 0.0], (40, 1)), np.repeat([0, 1], 20)
    trusting, even, doubting = (
        temperature(which, logits, np.repeat(w, 20)) for w in ([9.0, 1.0], [1.0, 1.0], [1.0, 9.0])
    )
    assert trusting > 0.9 > even and even == pytest.approx(doubting, abs=0.02)  # no factor turns a doubt around
    assert even == temperature(which, logits)
