from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.motion.camera import sample_camera, true_track
from src.motion.causes import OWN_CAUSES, SCENE, allowed, causes, errors
from src.motion.filmed import Filmed, Timed, as_in_body, off_chord, on_chord, same_moment, stance, timed, unit
from src.motion.keypoints import HIP_THRUST, SPINE, TRUNK, Track, TrackError, mirror
from src.motion.kinematics import sample_performance
from src.motion.noise import ALIKE, TAIL, Noise, between, fit, mixed, smooth, tamed
from src.motion.person import ARMS, sample_person

SHIFT = 0.1


def filmed(seed, fps_hz=15.0):
    rng = np.random.default_rng(seed)
    perf = sample_performance(sample_person(rng), 2, fps_hz, rng)
    camera = sample_camera(perf.joints[:, :21], fps_hz, (640, 360), "side", rng)
    reps = np.array([(rep.start_s, rep.top_s, rep.end_s) for rep in perf.reps])
    setup = perf.setup
    true = as_in_body(true_track(perf, camera), perf.lumbar)
    return Filmed(true, camera.side, setup.plate_m, setup.load, setup.arms, reps)


def detected(shot, rng):
    """A detector that sees hips ``SHIFT`` limbs towards the feet, jitters, and misses the nose."""
    keypoints = shot.from_left.keypoints.copy()
    hips = [HIP_THRUST.index("left_hip"), HIP_THRUST.index("right_hip")]
    keypoints[:, hips, 0] += SHIFT * unit(shot.true)
    keypoints[..., :2] += rng.normal(0, 0.01, keypoints[..., :2].shape) * unit(shot.true)
    keypoints[..., 2] = 0.7
    keypoints[:, 0] = (np.nan, np.nan, 0)
    track = Track(keypoints, shot.true.fps_hz, shot.true.size_px, "d")
    return track if shot.side == "left" else mirror(track)


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    return fit([(shot := filmed(seed), detected(shot, rng)) for seed in range(8)])


def test_what_the_detector_does_is_done_to_others(noise):
    for seed in range(20, 26):
        shot = filmed(seed, 30.0)
        shot.true.keypoints[..., 2] = 1  # nothing is hidden
        seen = Track(noise.observe(shot, np.random.default_rng(seed)), 30.0, shot.true.size_px, "s")
        off = errors(shot, seen)
        hip = HIP_THRUST.index("left_hip")
        assert np.isnan(seen.keypoints[:, 0, 0]).all() and (seen.keypoints[:, 0, 2] == 0).all()
        assert abs(np.median(off[:, hip, 0]) - SHIFT) < 0.02 and abs(np.median(off[:, 13, 0])) < 0.02
        assert 0.005 < np.std(off[:, 13, 1]) < 0.02
        np.testing.assert_allclose(seen.keypoints[:, 1:, 2], 0.7)


def test_the_trunk_is_measured_from_the_chord_that_the_joints_give():
    shot = filmed(3)
    xy, moved = (shot.from_left.keypoints[..., :2].astype(float).copy() for _ in range(2))
    for part, step in (("shoulder", (5.0, -8.0)), ("hip", (9.0, 4.0))):
        moved[:, [HIP_THRUST.index(f"{side}_{part}") for side in ("left", "right")]] += step
    moved[:, -len(TRUNK) :] = on_chord(moved, off_chord(xy))
    np.testing.assert_allclose(on_chord(xy, off_chord(xy)), xy[:, -len(TRUNK) :], atol=1e-6)
    keypoints = np.concatenate([moved, np.ones((*moved.shape[:2], 1))], axis=-1).astype(np.float32)
    seen = Track(keypoints, shot.true.fps_hz, shot.true.size_px, "d")
    off = errors(shot, seen if shot.side == "left" else mirror(seen))
    assert np.abs(off[:, -len(TRUNK) :, :2]).max() < 1e-3 < 0.02 < np.abs(off[:, 11, :2]).max()


def test_a_spine_that_is_seen_too_still_is_imitated_so():
    """A detector that sees half of what the vertebra moves: so it is with people whom it never met."""

    def damped(shot):
        keypoints = shot.from_left.keypoints.copy()
        xy = keypoints[..., :2].astype(float)
        held = off_chord(xy)
        held[:, 0, 1] = held[:, 0, 1].mean() + 0.5 * (held[:, 0, 1] - held[:, 0, 1].mean())
        keypoints[:, -len(TRUNK) :, :2] = on_chord(xy, held)
        track = Track(keypoints, shot.true.fps_hz, shot.true.size_px, "d")
        return track if shot.side == "left" else mirror(track)

    shots = [filmed(seed) for seed in range(40)]
    noise = fit([(shot, damped(shot)) for shot in shots[:30]])
    slopes = []
    for shot in shots[30:]:
        seen = Track(noise.observe(shot, np.random.default_rng(0)), shot.true.fps_hz, shot.true.size_px, "s")
        true, found = (t.keypoints[..., :2].astype(float) for t in (shot.true, seen))
        slopes.append(np.polyfit(off_chord(true)[:, 0, 1], off_chord(found)[:, 0, 1], 1)[0])
    assert TRUNK[0] == SPINE and 0.3 < np.median(slopes) < 0.8


def test_an_error_of_the_trunk_follows_from_few_things():
    may = allowed(causes(filmed(0)).shape[1])
    assert may[:, : -len(TRUNK)].all()
    assert (may[:, -len(TRUNK) :].sum(axis=0) == SCENE + OWN_CAUSES).all() and may[:SCENE].all()
    assert (
        may[SCENE : SCENE + OWN_CAUSES * len(TRUNK)].sum()
        == may[SCENE:].sum() - may[SCENE + OWN_CAUSES * len(TRUNK) :].sum()
    )


def test_the_vertebra_lies_off_the_chord_as_in_the_body():
    rng = np.random.default_rng(5)
    perf = sample_performance(sample_person(rng), 2, 15.0, rng)
    cameras = [
        sample_camera(perf.joints[:, :21], 15.0, (640, 360), "side", np.random.default_rng(seed)) for seed in range(8)
    ]
    assert {camera.side for camera in cameras} == {"left", "right"}
    for camera in cameras:
        true = true_track(perf, camera)
        placed = as_in_body(true, perf.lumbar)
        facing = np.sign(placed.keypoints[0, HIP_THRUST.index("left_ankle"), 0] - placed.keypoints[0, 5, 0])
        np.testing.assert_allclose(
            facing * off_chord(placed.keypoints.astype(float)[..., :2])[:, 0, 1], perf.lumbar, atol=1e-4
        )
        others = [i for i in range(len(HIP_THRUST)) if i != HIP_THRUST.index(SPINE)]
        assert np.array_equal(placed.keypoints[:, others], true.keypoints[:, others])
        moved = np.linalg.norm((placed.keypoints - true.keypoints)[..., :2], axis=-1)
        assert 0 < moved.max() < 0.05 * unit(true)


def test_what_one_clip_in_many_shows_is_lent_tamed(noise):
    donors = [
        replace(d, slow=np.random.default_rng(i).normal(0, 0.01, d.slow.shape)) for i, d in enumerate(noise.donors)
    ]
    wild = replace(donors[0], slow=donors[0].slow.copy())
    wild.slow[:, -len(TRUNK) :] += 0.2
    wild.slow[:, 0] = np.nan
    lent = tamed([wild, *donors[1:]])
    assert np.abs(lent[0].slow[:, -len(TRUNK) :]).max() < 1.6 * TAIL * 0.01 < wild.slow[:, -len(TRUNK) :].min()
    assert np.array_equal(lent[0].slow[:, : -len(TRUNK)], wild.slow[:, : -len(TRUNK)], equal_nan=True)


def test_left_and_right_are_the_same_to_the_detector(noise):
    shot = filmed(30)
    other = Filmed(
        mirror(shot.true), {"left": "right", "right": "left"}[shot.side], shot.plate_m, shot.load, shot.arms, shot.reps
    )
    np.testing.assert_allclose(causes(other), causes(shot), atol=1e-3)
    a, b = (noise.observe(f, np.random.default_rng(5)) for f in (shot, other))
    back = mirror(Track(b, shot.true.fps_hz, shot.true.size_px, "s")).keypoints
    np.testing.assert_allclose(a, back, atol=0.02)


def test_the_same_seed_gives_the_same_track_and_a_file_the_same_noise(noise, tmp_path):
    noise.save(tmp_path / "noise.npz")
    again, shot = Noise.load(tmp_path / "noise.npz"), filmed(31)
    a, b, c = (n.observe(shot, np.random.default_rng(s)) for n, s in ((noise, 1), (again, 1), (noise, 2)))
    assert np.array_equal(a, b, equal_nan=True) and not np.array_equal(a, c, equal_nan=True)


def test_no_noise_without_anybody(tmp_path):
    shot = filmed(1)
    nobody = shot.true.keypoints.copy()
    nobody[:] = (np.nan, np.nan, 0)
    with pytest.raises(TrackError, match="nobody"):
        fit([(shot, Track(nobody, 15.0, shot.true.size_px, "d"))])
    (tmp_path / "x.npz").write_bytes(b"x")
    with pytest.raises(TrackError, match="x.npz"):
        Noise.load(tmp_path / "x.npz")


@given(st.integers(1, 5), st.integers(1, 5), st.floats(0.5, 2.0))
def test_moments_of_a_rep_meet(reps, others, pace):
    def in_time(count, start, step):
        times = start + step * np.arange(count)[:, None] * 4 + step * np.array([0.0, 1.0, 3.0])
        seconds = np.unique([*times.ravel(), *np.arange(0.0, times[-1, 2] + 2, 0.05)])
        phase = np.interp(seconds, times.ravel(), (times * 0 + (0, 1, 2)).ravel())
        inside = ((seconds[:, None] >= times[:, 0]) & (seconds[:, None] <= times[:, 2])).any(axis=1)
        return Timed(seconds, times, np.where(inside, phase, np.nan))

    ours, theirs = in_time(reps, 1.0, 1.0), in_time(others, 2.0, pace)
    at = same_moment(ours, theirs)
    met = at[np.searchsorted(ours.seconds, ours.reps.ravel())].reshape(reps, 3)
    np.testing.assert_allclose(met, theirs.reps[np.arange(reps) % others], atol=1e-6)
    assert np.isclose(at[np.searchsorted(ours.seconds, 0.5)], 1.5)
    later = np.searchsorted(ours.seconds, ours.reps[-1, 2] + 1)
    assert np.isclose(at[later] - theirs.reps[-1, 2], ours.seconds[later] - ours.reps[-1, 2])


def test_a_moment_is_alike_by_the_hips_and_not_by_the_clock():
    """One holds the top for half of the rep, the other not at all: the hold is lent what the other's top looked like."""

    def set_of(hold_s):
        up, seconds = 0.5 - 0.5 * np.cos(np.pi * np.arange(0, 1, 0.05)), 0.05
        height = np.concatenate([up, np.ones(round(hold_s / seconds)), up[::-1]])
        points = np.zeros((len(height), len(HIP_THRUST), 3), np.float32)
        for side in ("left", "right"):
            points[:, HIP_THRUST.index(f"{side}_hip"), 1] = -height
        times = np.array([[0.0, (len(height) - 1) / 2 * seconds, (len(height) - 1) * seconds + 1e-3]])
        return Filmed(Track(points, 1 / seconds, (640, 360), "t"), "left", 0.0, "none", "floor", times), height

    (held, high), (brief, low) = set_of(2.0), set_of(0.0)
    for one, other, ours, theirs in ((held, brief, high, low), (brief, held, low, high)):
        at = same_moment(timed(one), timed(other)) / 0.05
        assert np.abs(np.interp(at, np.arange(len(theirs)), theirs) - ours).max() < 0.1
    phase = timed(held).phase
    assert (np.diff(phase) > 0).all() and phase[0] == 0 and np.isclose(phase[-1], 2, atol=0.01)


def test_who_holds_the_arms_alike_lends(noise):
    shot = filmed(40)
    donors = [replace(d, place=shot.place()) for d in noise.donors]
    for other in set(ARMS) - {shot.arms}:
        elsewhere = replace(donors[0], place=replace(shot, arms=other).place())
        assert np.linalg.norm((elsewhere.place - shot.place()) / ALIKE) > 1.5
        alike, chance = Noise(noise.weights, (elsewhere, donors[1]))._donors(shot)
        assert alike[0] is donors[1] and chance[0] > 0.7


def test_errors_are_mixed_anew_with_the_mean_and_covariance_of_the_donors():
    rng, chance = np.random.default_rng(0), np.array([0.5, 0.3, 0.2])
    lent = rng.normal(1.0, 1.0, (3, 1, 2, 2))
    lent[1, 0, 1] = np.nan
    drawn = rng.choice(3, 20_000, p=chance)
    made = np.stack([mixed(lent, chance, i, rng)[0] for i in drawn])
    assert (np.isnan(made[:, 1, 0]) == (drawn == 1)).all()  # a gap stays one
    assert len(np.unique(made[:, 0, 0])) == len(made)
    rows, want = made[:, 0], lent[:, 0, 0]
    np.testing.assert_allclose(rows.mean(axis=0), chance @ want, atol=0.03)
    np.testing.assert_allclose(np.cov(rows.T), np.cov(want.T, aweights=chance, ddof=0), rtol=0.05, atol=0.02)


def test_smoothing_leaves_holes_and_constants_alone():
    rows = np.ones((30, 2))
    rows[10:12, 0] = np.nan
    flat = smooth(rows, 3.0)
    assert np.isnan(flat[10:12, 0]).all() and np.isfinite(flat[:, 1]).all()
    np.testing.assert_allclose(flat[np.isfinite(flat)], 1.0)


def test_rows_between_two_and_beside_a_gap():
    rows = np.array([[0.0, 1.0], [1.0, np.nan], [3.0, 5.0]], np.float32)
    np.testing.assert_allclose(between(rows, np.array([0.5, 1.25, 2.0, 9.0]))[:, 0], [0.5, 1.5, 3.0, 3.0])
    np.testing.assert_allclose(between(rows, np.array([0.4, 0.6, 1.4, 1.6]))[:, 1], [1.0, np.nan, np.nan, 5.0])
    np.testing.assert_array_equal(between(rows[:1], np.array([0.0, 3.0])), rows[[0, 0]])


def test_what_plates_hide_is_guessed_not_erred():
    """Wherever the true hip is, the detector draws it to one place: so do those who borrow from it."""
    near, place = HIP_THRUST.index("left_hip"), np.array([0.1, -0.3])

    def hidden(seed):
        shot = filmed(seed)
        true = replace(shot.from_left, keypoints=shot.from_left.keypoints.copy())
        true.keypoints[:, near, 2] = 0.5
        shot = replace(shot, true=true, side="left")
        seen = detected(shot, np.random.default_rng(seed))
        seen.keypoints[:, near, :2] = true.keypoints[:, near, :2] + (place - stance(shot)[:, near]) * unit(true)
        return shot, seen

    noise = fit([hidden(seed) for seed in range(8)])
    for seed in range(20, 24):
        shot, seen = hidden(seed)
        made = errors(shot, replace(seen, keypoints=noise.observe(shot, np.random.default_rng(seed))))
        assert np.abs(made[:, near, :2] + stance(shot)[:, near] - place).max() < 0.06
