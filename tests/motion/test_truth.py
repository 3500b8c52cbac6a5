import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.motion.faults import FAULTS, QUANTITIES, judge
from src.motion.labels import LabelError
from src.motion.reps import Rep
from src.motion.truth import COLUMNS, TRAITS, read_truth, severities, severity, truth_at

ROW = dict.fromkeys(COLUMNS, "1") | {"clip": "a.mp4", "load": "barbell", "plate_m": "0.45"}


def write(path, *rows):
    lines = [",".join(ROW), *(",".join(str(row[column]) for column in ROW) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def rep(start_s, end_s):
    return Rep(start_s, start_s + 1.0, end_s, True)


def test_a_rep_finds_the_truth_it_overlaps(tmp_path):
    times = ({"start_s": 0, "end_s": 3}, {"start_s": 3, "end_s": 6})
    truths = read_truth(write(tmp_path / "truth.csv", *(ROW | time for time in times)))
    rows = truths["a.mp4"]
    assert truth_at(rep(0.2, 2.5), rows).start_s == 0 and truth_at(rep(2.5, 5.5), rows).start_s == 3
    assert truth_at(rep(5.5, 9.0), rows) is None and truth_at(rep(0.2, 2.5), ()) is None
    assert read_truth(tmp_path / "none.csv") == {}


def test_plates_and_rates_are_named(tmp_path):
    rows = [
        ROW | {"load": load, "plate_m": plate_m, "fps_hz": fps_hz}
        for load, plate_m, fps_hz in (("none", 0, 15), ("dumbbell", 0.15, 30), ("barbell", 0.45, 60))
    ]
    (truths,) = read_truth(write(tmp_path / "truth.csv", *rows)).values()
    assert [(t.plates, t.rate) for t in truths] == [("none", "slow"), ("small", "usual"), ("big", "fast")]


def test_traits_are_read_and_a_cloth_may_be_unknown(tmp_path):
    (truth,) = read_truth(write(tmp_path / "truth.csv", ROW | {"belly": "0.25", "loose_m": "nan"}))["a.mp4"]
    assert set(truth.traits) == set(TRAITS) and truth.traits["belly"] == 0.25 and np.isnan(truth.traits["loose_m"])


def test_a_broken_truth_is_named(tmp_path):
    path = write(tmp_path / "truth.csv", ROW | {"plate_m": "wide"})
    with pytest.raises(LabelError, match=r"truth.csv line 2.*wide"):
        read_truth(path)
    path.write_text("clip,load\n")
    with pytest.raises(LabelError, match="no column .*plate_m"):
        read_truth(path)


@given(st.fixed_dictionaries({name: st.floats(-1.0, 1.0) | st.floats(60.0, 200.0) for name in QUANTITIES}))
def test_severity_and_labels_agree(quantities):
    for fault in FAULTS:
        label, value = judge(fault, quantities), severity(fault, quantities)
        if abs(value) > 1e-9 and abs(value - 1) > 1e-9:
            assert (label == 1.0) == (value > 1) and (label == 0.0) == (value < 0)


def test_severities_are_known_for_faults_with_a_truth(tmp_path):
    (truth,) = read_truth(write(tmp_path / "truth.csv", ROW | {"rise_ratio": "0.5"}))["a.mp4"]
    other, short = severities(truth, ("other", "partial_range"))
    assert np.isnan(other) and short == pytest.approx(severity(FAULTS[3], truth.quantities))
    assert np.isnan(severities(None, ("tuck",))).all()
