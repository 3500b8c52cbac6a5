from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src.motion.camera import sample_camera, sample_view
from src.motion.cycle import STYLES, sample_severity, sample_tempo
from src.motion.faults import FAULT_KEYS, FAULTS, judge
from src.motion.keypoints import OUTLINE
from src.motion.kinematics import JOINTS, perform, sample_performance, trunk_thigh_deg
from src.motion.person import ARMS, LOADS, sample_person, sample_setup
from src.motion.spine import MID_LUMBAR, bend, contour, lumbar_offset
from src.video.render import sample_look

SEEDS = st.integers(0, 2**31)


def play(seed, reps=2, fps_hz=20.0, setup_changes=None, **faults):
    """A set with exactly these severities (none by default)."""
    rng = np.random.default_rng(seed)
    person = sample_person(rng)
    setup, tempo, severity = sample_setup(rng, person), sample_tempo(rng), sample_severity(rng, reps)
    none = {"overarch": np.zeros(reps), "tuck": np.zeros(reps), "partial_range": np.zeros(reps), "feet_too_far": 0.0}
    given_faults = {
        key: value if isinstance(value, str | bool | float) else np.asarray(value) for key, value in faults.items()
    }
    return perform(
        person, replace(setup, **(setup_changes or {})), tempo, replace(severity, **none | given_faults), fps_hz, rng
    )


def during(perf):
    """Frames inside the reps."""
    seconds = np.arange(len(perf.joints)) / perf.fps_hz
    return (seconds >= perf.reps[0].start_s) & (seconds <= perf.reps[-1].end_s)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_closed_chain(seed):
    rng = np.random.default_rng(seed)
    perf = sample_performance(sample_person(rng), 2, 20.0, rng)
    on = during(perf)
    assert np.isfinite(perf.joints).all()
    for side in ("left", "right"):
        for point in ("ankle", "heel", "toe"):
            assert np.ptp(perf[f"{side}_{point}"][on], axis=0).max() < 0.005
    person = perf.person
    lengths = {("hip", "knee"): person.thigh_m, ("knee", "ankle"): person.shank_m}
    lengths |= {("shoulder", "elbow"): person.upper_arm_m, ("elbow", "wrist"): person.forearm_m}
    for (a, b), length in lengths.items():
        for side in ("left", "right"):
            bone = np.linalg.norm(perf[f"{side}_{a}"] - perf[f"{side}_{b}"], axis=-1)
            np.testing.assert_allclose(bone[on], length, atol=1e-6)
    vertebrae = np.stack([perf[name] for name in JOINTS if name.startswith("spine_")], axis=1)
    assert np.ptp(np.linalg.norm(np.diff(vertebrae, axis=1), axis=-1), axis=0).max() < 1e-9


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_upper_back_rests_on_the_bench_and_nothing_sinks(seed):
    rng = np.random.default_rng(seed)
    perf = sample_performance(sample_person(rng), 2, 20.0, rng)
    on, bench = during(perf), perf.setup.bench_m
    back = np.stack([perf[f"rear_{n}"] for n in ("c7", "t3", "t6", "t9", "t12")], axis=1)[on][..., [0, 2]]  # (T, 5, 2)
    share = np.linspace(0, 1, 40)[:, None, None, None]
    skin = (back[:, :-1] * (1 - share) + back[:, 1:] * share).swapaxes(0, 1).reshape(len(back), -1, 2)
    over = np.where(skin[..., 0] <= 0, skin[..., 1] - bench, np.hypot(skin[..., 0], skin[..., 1] - bench))
    if bench == 0:
        over = skin[..., 1]
    assert np.abs(over.min(axis=1)).max() < 0.010
    low = np.stack([perf[name] for name in JOINTS if name.startswith("rear_")], axis=1)[on][..., 2]
    assert low.min() > -0.010


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_no_arm_sinks_into_bench_or_floor(seed):
    rng = np.random.default_rng(seed)
    perf = sample_performance(sample_person(rng), 2, 10.0, rng)
    limbs = np.stack([perf[f"{side}_{part}"] for side in ("left", "right") for part in ("elbow", "wrist", "hand")])
    x, y, z = np.moveaxis(limbs, -1, 0)
    inside = (x < 0) & (x > -0.42) & (np.abs(y) < 0.65)
    depth = np.minimum.reduce([perf.setup.bench_m - z, -x, x + 0.42, 0.65 - np.abs(y)])
    assert z.min() > -0.010 and np.max(depth, where=inside, initial=0.0) < 0.010


def bends_deg(points, names):
    """Angle (T,) in the plane between two stretches of the spine: (from, to) of each."""
    first, second = (points[f"spine_{end}"] - points[f"spine_{start}"] for start, end in names)
    along = [np.arctan2(stretch[:, 2], stretch[:, 0]) for stretch in (first, second)]
    return np.rad2deg(np.unwrap(along[0] - along[1]))


PUBLISHED = {  # mean of clean reps on a bench: what is published (Brazil et al. 2021; coaches), and what we allow
    "lockout deg": ("176", 176, 180), "bottom deg": ("116", 108, 122), "knee at lockout deg": ("90", 85, 96),
    "knee range deg": ("21+-7", 14, 28), "pelvis-trunk range deg": ("12+-21", 2, 33), "shin at lockout deg": ("0", -4, 4),
    "pelvis bottom m": ("0.20", 0.15, 0.32), "pelvis lockout m": ("0.48", 0.42, 0.54), "rise s": ("1.1 at most load", 0.8, 2),
    "rep s": ("3-4", 2.5, 4.5),
}  # fmt: skip


def test_clean_reps_match_published_ranges(capsys):
    rows, bridges = [], []
    for seed in range(120):
        perf = play(seed)
        shoulder, hip_joint, knee_joint = (
            0.5 * (perf[f"left_{n}"] + perf[f"right_{n}"]) for n in ("shoulder", "hip", "knee")
        )
        hip = trunk_thigh_deg(shoulder, hip_joint, knee_joint)
        thigh, shank = perf["left_hip"] - perf["left_knee"], perf["left_ankle"] - perf["left_knee"]
        cos = (thigh * shank).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shank, axis=-1)
        knee, back = np.rad2deg(np.arccos(cos)), bends_deg(perf, (("t3", "t12"), ("s1", "s3")))
        for rep in perf.reps:
            frames, q = slice(round(rep.start_s * 20), round(rep.end_s * 20) + 1), rep.quantities
            height = hip_joint[frames, 2]
            ranges = (np.ptp(knee[frames]), np.ptp(back[frames]), q["shin_top_deg"], height.min(), height.max())
            times = (rep.top_s - rep.start_s, rep.end_s - rep.start_s)
            row = (q["hip_top_deg"], hip[frames].min(), q["knee_top_deg"], *ranges, *times)
            (rows if perf.setup.bench_m else bridges).append(row)
    mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
    with capsys.disabled():
        lines = zip(PUBLISHED.items(), mean, spread, strict=True)
        print("\nclean reps:", ", ".join(f"{name} {m:.2f}+-{s:.2f} ({lit[0]})" for (name, lit), m, s in lines))
    for (name, (_, low, high)), value in zip(PUBLISHED.items(), mean, strict=True):
        assert low < value < high, name
    assert 1.5 < spread[0] < 4 and 175 < np.mean(bridges, axis=0)[0] < 181


def test_the_outline_crosses_the_chord_where_its_names_say_and_ends_below_the_seat():
    perf = play(0, reps=1, setup_changes={"bench_m": 0.40, "contact": 0.27})
    top = round(perf.reps[0].top_s * perf.fps_hz)
    shoulder, hip = ((perf[f"left_{part}"] + perf[f"right_{part}"])[top] / 2 for part in ("shoulder", "hip"))
    chord = hip - shoulder
    normal = np.array([-chord[2], 0.0, chord[0]])
    for point in OUTLINE:
        side, _, share = point.partition("_")
        arm = perf[point][top] - shoulder
        assert abs(arm @ chord / (chord @ chord) - int(share) / 100) < 1e-6
        assert (arm @ normal > 0) == (side == "front")
    turned = np.array(
        [[[0.0, 0.2], [0.5, 0.2], [1.1, 0.1], [0.9, -0.1]]]
    )  # what is never reached gets the furthest point
    found = contour(np.zeros((1, 2)), np.array([[1.0, 0.0]]), turned, (0.25, 1.2))
    np.testing.assert_allclose(found, [[[0.25, 0.2], [1.1, 0.1]]])


def test_the_low_back_lies_against_blades_and_seat_as_the_fault_says():
    def hollow(**faults):
        perf = play(5, reps=1, setup_changes={"bench_m": 0.40, "contact": 0.27}, **faults)
        top = round(perf.reps[0].top_s * perf.fps_hz)
        low, *ends = (perf[point][top, 2] for point in ("back_55", "back_25", "back_100"))
        return (low - np.mean(ends)) / perf.person.trunk_m

    assert hollow(tuck=[1.2]) < hollow() - 0.02 < hollow(overarch=[1.2], style="arch") - 0.04


def test_ten_degrees_of_lumbar_move_the_middle_by_three_to_five_hundredths():
    trunk = bend(sample_person(np.random.default_rng(0)), np.array([-10.0, 0.0, 10.0]))
    offset = lumbar_offset(trunk.shoulder, trunk.hip, trunk.spine[:, MID_LUMBAR])
    assert -0.05 < offset[0] - offset[1] < -0.03 and 0.03 < offset[2] - offset[1] < 0.05
    chord = np.linalg.norm(trunk.hip - trunk.shoulder, axis=-1)
    assert abs(chord[0] / chord[1] - 1) < 0.02  # the joints hardly move


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({}, ()),
        ({"overarch": [1.2, 1.2], "style": "arch"}, ("overarch",)),
        ({"overarch": [1.2, 1.2], "style": "above"}, ("overarch",)),
        ({"overarch": [1.2, 1.2], "style": "throughout"}, ("overarch",)),
        ({"tuck": [1.2, 1.2]}, ("tuck",)),
        ({"feet_too_far": 1.1}, ("feet_too_far",)),
        ({"partial_range": [1.2, 1.2], "shallow": False}, ("partial_range",)),
        ({"tuck": [1.2, 1.2], "feet_too_far": 1.1}, ("tuck", "feet_too_far")),
    ],
)
def test_label_truth_table(faults, expected):
    labels = [
        r.labels
        for seed in range(12)
        for r in play(seed, setup_changes={"bench_m": 0.40, "contact": 0.27}, **faults).reps
    ]
    for key in FAULT_KEYS:
        share = np.nanmean([row[key] for row in labels])
        assert share > 0.9 if key in expected else share < 0.1, (key, share)


def test_labels_follow_the_joints_not_the_wish():
    perf = play(3, reps=3, overarch=[0.0, 0.5, 1.2], style="arch")
    for rep in perf.reps:
        for fault in FAULTS:
            assert np.array_equal(rep.labels[fault.key], judge(fault, rep.quantities), equal_nan=True)
    lumbar = [rep.quantities["lumbar_top"] for rep in perf.reps]
    assert lumbar[0] < lumbar[1] < lumbar[2]


def test_shallow_last_reps_are_partial_against_the_best():
    perf = play(
        5, reps=3, partial_range=[0.0, 0.0, 1.0], shallow=True, setup_changes={"bench_m": 0.42, "contact": 0.27}
    )
    assert [rep.labels["partial_range"] for rep in perf.reps] == [0, 0, 1]
    assert perf.reps[2].quantities["hip_top_deg"] > 170


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_same_seed_same_set_and_frame_rate_changes_only_sampling(seed):
    one, two, fine = (play(seed, fps_hz=fps) for fps in (15.0, 15.0, 30.0))
    assert np.array_equal(one.joints, two.joints)
    assert [r.start_s for r in one.reps] == [r.start_s for r in fine.reps]
    n = min(len(one.joints), len(fine.joints[::2]))
    np.testing.assert_allclose(one.joints[:n], fine.joints[::2][:n], atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_mirrored_setup_mirrors_the_legs(seed):
    perf = play(seed)
    setup = perf.setup
    left, right = setup.knees_deg
    changes = {"knees_deg": (right, left), "feet_skew_m": -setup.feet_skew_m, "head_turn_deg": -setup.head_turn_deg}
    other = play(seed, setup_changes=changes)
    steady = during(perf)
    for point in ("hip", "knee", "ankle", "toe", "shoulder"):
        np.testing.assert_allclose(
            perf[f"left_{point}"][steady] * (1, -1, 1), other[f"right_{point}"][steady], atol=2e-3, err_msg=point
        )


def nuisances(perf, rep, camera, look):
    """What must not betray a fault, by group."""
    setup, person, outfit = perf.setup, perf.person, look.outfit
    body = [person.thigh_m / person.trunk_m, person.shank_m / person.trunk_m, person.height_m, person.sex == "male"]
    return {
        "body": [*body, person.belly, person.depth, person.glute, person.girth],
        "gear": [setup.load == x for x in LOADS] + [setup.plate_m, setup.bench_m, setup.contact, setup.shrug],
        "stance": [setup.stance_m, setup.toe_out_deg, setup.feet_skew_m, *setup.knees_deg],
        "arms": [setup.arms == x for x in ARMS],
        "tempo": [rep.end_s - rep.start_s, rep.start_s, len(perf.reps), perf.reps.index(rep)],
        "camera": [*camera.position_m, camera.focal_px, camera.azimuth_deg, camera.side == "left"],
        "clothes": [*outfit.skin, *outfit.shirt, *outfit.trousers, outfit.sleeve, outfit.leg, outfit.loose_m],
        "room": [look.room.bystanders, look.room.clutter, *look.room.light, look.noise, look.blur, look.exposure],
        "head": head_points(perf, rep),
    }


def head_points(perf, rep):
    frames = [round(t * perf.fps_hz) for t in (rep.start_s, rep.top_s)]
    middle = (perf["left_ear"] + perf["right_ear"])[frames] / 2
    points = [
        (perf[n][frames] - middle) / perf.person.head_m for n in ("nose", "left_eye", "right_eye", "left_ear", "crown")
    ]
    return np.ravel(points).tolist()


def test_nothing_but_the_fault_betrays_the_fault(capsys):
    """A probe on each group of nuisance variables, head points among them, and one on all must stay near chance."""
    groups, labels, people = {}, [], []
    for seed in range(450):
        rng = np.random.default_rng((11, seed))
        perf = sample_performance(sample_person(rng), int(rng.integers(1, 4)), 10.0, rng)
        camera, look = sample_camera(perf.joints[:, :21], 10.0, (640, 360), sample_view(rng), rng), sample_look(rng)
        for rep in perf.reps:
            for name, values in nuisances(perf, rep, camera, look).items():
                groups.setdefault(name, []).append(values)
            labels.append([rep.labels[key] for key in FAULT_KEYS])
            people.append(seed)
    data = {name: np.array(rows, float) for name, rows in groups.items()}
    data["all but the head"] = np.concatenate([values for name, values in data.items() if name != "head"], axis=1)
    truth, who = np.array(labels), np.array(people)
    worst = {}
    for name, features in data.items():
        for i, key in enumerate(FAULT_KEYS):
            known = np.isfinite(truth[:, i])
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
            given = {"groups": who[known], "cv": GroupKFold(4), "method": "predict_proba"}
            p = cross_val_predict(probe, features[known], truth[known, i], **given)
            worst[name, key] = roc_auc_score(truth[known, i], p[:, 1])
    with capsys.disabled():
        print("\nprobes:", ", ".join(f"{name} {max(worst[name, key] for key in FAULT_KEYS):.2f}" for name in data))
    assert max(worst.values()) < 0.6, worst


def test_prevalence():
    labels = []
    for seed in range(400):
        rng = np.random.default_rng((5, seed))
        labels += [[r.labels[k] for k in FAULT_KEYS] for r in sample_performance(sample_person(rng), 3, 10.0, rng).reps]
    present = (np.array(labels) == 1).mean(axis=0)
    assert (present > 0.12).all() and (present < 0.3).all(), present
    assert 0.3 < (~(np.array(labels) == 1).any(axis=1)).mean() < 0.55


def test_styles_are_known():
    assert {sample_severity(np.random.default_rng(s), 2).style for s in range(40)} == set(STYLES)
