import numpy as np

from src.motion.features import FEATURE_NAMES
from src.report.baselines import HEIGHT, fitted_scores, logistic, minirocket, ridge, summary

RNG = np.random.default_rng(0)


def shifted(n, seed):
    """Series (n, 3, 16) float32 and labels (n, 2): the first label lifts feature 1, the second is never present."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, 2, n), np.zeros(n)], axis=1).astype(float)
    series = rng.normal(0.0, 1.0, (n, 3, 16))
    series[:, 1] += 3 * labels[:, :1]
    return series.astype(np.float32), labels


def test_a_summary_reads_the_lockout_at_the_highest_hips():
    series = RNG.normal(0.0, 1.0, (2, len(FEATURE_NAMES), 5)).astype(np.float32)
    hips = FEATURE_NAMES.index(HEIGHT)
    series[0, hips, 3] = series[1, hips, 1] = 9.0
    mean, low, high, lockout = np.split(summary(series, FEATURE_NAMES), 4, axis=1)
    np.testing.assert_array_equal(lockout, [series[0, :, 3], series[1, :, 1]])
    np.testing.assert_allclose(mean, series.mean(axis=2))
    assert (low <= lockout).all() and (lockout <= high).all()


def test_a_fit_learns_what_is_known_and_leaves_the_rest_alone():
    (x, y), (x_validation, y_validation), (x_test, y_test) = (shifted(60, seed) for seed in range(3))
    wrong = y.copy()
    wrong[::2, 0] = np.nan  # half of the labels are masked
    for fit in (logistic, ridge):
        rows = [part[:, 1, :8] for part in (x, x_validation, x_test)]
        _, scores = fitted_scores([fit(1.0)], rows, [wrong, y_validation])
        assert scores[y_test[:, 0] == 1, 0].min() > scores[y_test[:, 0] == 0, 0].max()
        assert np.isnan(scores[:, 1]).all()


def test_validation_people_choose_the_fit():
    x = np.zeros((4, 1), np.float32)
    y = np.array([[0.0], [1.0], [0.0], [1.0]])

    def right(rows, labels):
        return lambda part: y[:, 0]

    def wrong(rows, labels):
        return lambda part: -y[:, 0]

    for fits in ([right, wrong], [wrong, right]):
        _, scores = fitted_scores(fits, [x, x, x], [y, y])
        np.testing.assert_array_equal(scores, y)


def test_minirocket_is_seeded_and_takes_points_that_stand_still():
    series = [shifted(n, n)[0] for n in (8, 3)]
    series[0][2, 0] = 1.0
    first, again = (minirocket(series, 84, seed=1) for _ in range(2))
    assert [part.shape for part in first] == [(8, 84), (3, 84)]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
