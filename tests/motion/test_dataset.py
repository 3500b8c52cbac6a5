from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import LEAD_S, REP_S, thrust, tops, write_labels, write_people
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.augment import augmented
from src.motion.dataset import (
    RepDataset,
    Sample,
    collate,
    cut,
    data_hash,
    load_samples,
    matching,
    observable,
    repeated,
    samples_of,
    split_people,
)
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import HIP_THRUST
from src.motion.labels import Label, LabelError, read_labels
from src.motion.reps import Rep, find_reps

ROW = {"clip": "a.mp4", "subject": "ann", "view": "side", "overarch": "1"}
NAN = float("nan")


def sample(subject, split=""):
    empty = np.zeros((2, len(HIP_THRUST), 3), np.float32)
    return Sample(empty, 30.0, np.zeros(4, np.float32), subject, "c", "side", "x", Rep(0, 1, 2, True), split=split)


@settings(max_examples=60)
@given(
    people=st.dictionaries(st.text(max_size=4), st.sampled_from(["", "", "train", "validation", "test", "proof"]), min_size=3),
    clips=st.integers(1, 3), validation=st.floats(0.01, 0.5), test=st.floats(0.01, 0.5), seed=st.integers(0, 99),
)  # fmt: skip
def test_no_person_is_in_two_parts(people, clips, validation, test, seed):
    samples = [sample(name, split) for name, split in people.items()] * clips
    free = sum(not split for split in people.values())
    sure = {"test": round(test * free), "validation": round(validation * free)}
    sure["train"] = free - sum(sure.values())
    try:
        parts = split_people(samples, validation, test, seed)
    except LabelError as error:
        empty = [part for part in sure if sure[part] <= 0 and part not in people.values()]
        assert empty and all(part in str(error) for part in empty)
        return
    names = {part: {s.subject for s in chosen} for part, chosen in parts.items()}
    assert sum(map(len, names.values())) == len(people)
    assert sum(map(len, parts.values())) == len(samples)
    assert all(parts[part] for part in sure)  # somebody in each but proof
    assert all(name in names[split] for name, split in people.items() if split)


@given(seed=st.integers(0, 99), order=st.permutations(list(range(12))))
def test_the_split_does_not_depend_on_the_order_of_rows(seed, order):
    samples = [sample(f"p{i}") for i in range(12)]
    parts, others = (split_people(s, 0.2, 0.2, seed) for s in (samples, [samples[i] for i in order]))
    assert {k: {s.subject for s in v} for k, v in parts.items()} == {
        k: {s.subject for s in v} for k, v in others.items()
    }


def test_a_person_in_two_splits_is_refused(tmp_path):
    with pytest.raises(LabelError, match="p3 is in split test and in empty"):
        split_people([sample("p3", "test"), sample("p1"), sample("p3")], 0.2, 0.2, 0)
    row = {"clip": "a.mp4", "subject": "ann", "view": "side"}
    write_labels(tmp_path, [row | {"split": "train"}, row | {"clip": "b.mp4", "split": "test"}])
    with pytest.raises(LabelError, match="ann is in split train and in test"):
        read_labels(tmp_path / "labels.csv")


def test_an_unknown_split_is_refused(tmp_path):
    write_labels(tmp_path, [{"clip": "a.mp4", "subject": "ann", "view": "side", "split": "tset"}])
    with pytest.raises(LabelError, match="column split: 'tset'"):
        read_labels(tmp_path / "labels.csv")


def test_the_seed_moves_people_and_shares_are_kept():
    samples = [sample(f"p{i}") for i in range(100)]
    splits = [frozenset(s.subject for s in split_people(samples, 0.2, 0.1, seed)["test"]) for seed in range(5)]
    assert len(set(splits)) == 5 and {len(s) for s in splits} == {10}


def test_labels_meet_the_reps_they_lie_on():
    track = thrust(3)
    rows = [
        Label("a.mp4", "ann", top - 1.2, top + 1.2, (float(i % 2), NAN, 0.0, 0.0), "side")
        for i, top in enumerate(tops())
    ]
    samples, count = samples_of(track, rows, "mine")
    assert (count.labelled, count.found, count.matched) == (3, 3, 3)
    assert [s.faults[0] for s in samples] == [0.0, 1.0, 0.0] and all(np.isnan(s.faults[1]) for s in samples)
    elsewhere = Label("a.mp4", "ann", LEAD_S + 2.6 + REP_S, LEAD_S + 3.0 + REP_S, (1.0,) * 4, "side")
    assert matching(elsewhere, find_reps(track)) == []
    samples, count = samples_of(track, [Label("a.mp4", "ann", None, None, (1.0,) * 4, "")], "mine")
    assert len(samples) == 3 and (count.labelled, count.found, count.matched) == (None, 3, 3)
    twice = [
        Label("a.mp4", "ann", s, e, (v,) * 4, "side") for s, e, v in ((5.8, 7.9, 0.0), (7.9, 9.9, 1.0), (0.5, 1.4, 0.0))
    ]
    claimed = [r for label in twice for r in matching(label, find_reps(track))]
    doubled = {r.start_s for r in claimed if claimed.count(r) > 1}
    samples, _ = samples_of(track, twice, "mine")
    assert not any(s.rep.start_s in doubled for s in samples)


@pytest.mark.parametrize(
    ("view", "judged"), [("side", FAULT_KEYS), ("oblique", ("feet_too_far", "partial_range")), ("frontal", ())]
)
def test_a_view_masks_what_it_cannot_show(view, judged):
    samples, _ = samples_of(thrust(1), [Label("a.mp4", "ann", None, None, (1.0,) * 4, view)], "mine")
    assert tuple(key for key, value in zip(FAULT_KEYS, samples[0].faults, strict=True) if value == 1.0) == judged


def test_a_cut_keeps_its_margins():
    track = thrust(1)
    rep = find_reps(track)[0]
    assert abs(len(cut(track, rep)) / 30 - (rep.end_s - rep.start_s + 0.5)) < 0.1
    assert len(cut(track, Rep(0.0, 1.0, 99.0, True))) == len(track.keypoints)


def test_folders_are_read_and_missing_tracks_counted(tmp_path):
    write_people(tmp_path / "sim", 3)
    write_people(tmp_path / "own" / "gym", 2, prefix="q")
    (tmp_path / "own" / "gym" / "q0_0.npz").unlink()
    samples, counts = load_samples(tmp_path)
    assert Counter(s.folder for s in samples) == {"sim": 12, "own/gym": 6}
    missing = [c for c in counts if c.clip == "q0_0.mp4"]
    assert len(counts) == 10 and len(missing) == 1 and missing[0].found == 0
    with pytest.raises(LabelError, match="no labelled rep"):
        load_samples(tmp_path / "nowhere")


def test_clips_in_subfolders_and_with_equal_stems_keep_their_own_labels(tmp_path):
    thrust(1).save(tmp_path / "a.npz")
    thrust(2).save(tmp_path / "sub" / "a.npz")  # where src.detect puts sub/a.mp4
    write_labels(tmp_path, [ROW, ROW | {"clip": "sub/a.mp4", "overarch": "0"}])
    samples, _ = load_samples(tmp_path)
    assert Counter((s.clip, float(s.faults[0])) for s in samples) == {("a.mp4", 1.0): 1, ("sub/a.mp4", 0.0): 2}
    write_labels(tmp_path, [ROW, ROW | {"clip": "a.mov", "overarch": "0"}])  # one track cannot be two clips
    with pytest.raises(LabelError, match="a.mov"):
        load_samples(tmp_path)


def test_collate_pads_with_nan_and_says_how_much_is_real():
    ones = np.ones(4, np.float32)
    rows = [(np.full((t, 32, 3), t, np.float32), 10.0 * t, ones * t, t / 5, -ones * t, ones / t) for t in (2, 5, 3)]
    batch = collate(rows)
    assert (
        batch.keypoints.shape == (3, 5, 32, 3)
        and batch.frames.tolist() == [2, 5, 3]
        and batch.fps_hz.tolist() == [20, 50, 30]
    )
    for row, t in zip(batch.keypoints, (2, 5, 3), strict=True):
        assert (row[:t] == t).all() and torch.isnan(row[t:]).all()
    assert batch.faults[:, 0].tolist() == [2, 5, 3] and batch.keypoints.dtype == torch.float32
    assert batch.observable[:, 1].tolist() == [-2, -5, -3] and batch.severity[0].tolist() == [0.5] * 4


def test_what_is_hidden_and_what_could_be_judged():
    label = Label("a", "ann", None, None, (1.0, NAN, 0.0, NAN), "side", hidden=("tuck",))
    np.testing.assert_array_equal(observable(label), [1, 0, 1, NAN])
    oblique = Label("a", "ann", None, None, (1.0, 0.0, 0.0, 1.0), "oblique", hidden=())
    np.testing.assert_array_equal(observable(oblique), [NAN, NAN, 1, 1])
    assert np.isnan(observable(Label("a", "ann", None, None, (1.0,) * 4, "side"))).all()  # the table does not say


def test_augmentation_is_seeded_by_epoch_and_item():
    data = RepDataset(
        [Sample(thrust(1).keypoints, 30.0, np.ones(4, np.float32), "a", "c", "side", "x", Rep(0, 1, 2, True))] * 2,
        augmented,
        3,
    )
    first, again, other = data[0][0], data[0][0], data[1][0]
    later = data[len(data)][0]
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, other, equal_nan=True) and not np.array_equal(first, later, equal_nan=True)
    assert data[0][2] is data.samples[0].faults


def test_the_data_hash_feels_every_byte_and_no_folder_name(tmp_path):
    write_people(tmp_path / "one" / "sim", 2)
    write_people(tmp_path / "two" / "sim", 2)
    one = data_hash(tmp_path / "one")
    labels = tmp_path / "two" / "sim" / "labels.csv"
    labels.write_text(labels.read_text() + "\n")
    assert one != data_hash(tmp_path / "two")
    (tmp_path / "one").rename(tmp_path / "moved")
    assert data_hash(tmp_path / "moved") == one


def test_only_what_the_detector_saw_is_repeated():
    seen, imitated = (SimpleNamespace(tier=tier) for tier in ("detected", "simulated"))
    assert repeated([seen, imitated], 3) == [seen, imitated, seen, seen]
    assert repeated([seen, imitated], 1) == [seen, imitated]
