import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.motion.faults import FAULT_KEYS, FAULTS, QUANTITIES, judge

CUES = [cue for fault in FAULTS for cue in fault.cues]


def test_rows_are_whole():
    assert len(set(FAULT_KEYS)) == len(FAULTS) == 4
    for fault in FAULTS:
        assert fault.cues and fault.views and fault.advice and fault.source and fault.key.isidentifier()
        assert all(cue.quantity in QUANTITIES and cue.absent != cue.present for cue in fault.cues)
        assert set(fault.views) <= {"side", "oblique"}  # a frontal view judges nothing


@pytest.mark.parametrize("cue", CUES)
def test_a_cue_has_three_zones(cue):
    assert cue.judge(cue.present) == 1.0 and cue.judge(cue.absent) == 0.0
    assert math.isnan(cue.judge((cue.present + cue.absent) / 2)) and math.isnan(cue.judge(float("nan")))
    beyond = cue.present - cue.absent
    assert cue.judge(cue.present + beyond) == 1.0 and cue.judge(cue.absent - beyond) == 0.0


@given(cue=st.sampled_from(CUES), values=st.tuples(*[st.floats(-400, 400)] * 2))
def test_more_of_a_sign_is_never_less_of_a_fault(cue, values):
    less, more = sorted(values, reverse=cue.present < cue.absent)
    grade = [0.5 if math.isnan(cue.judge(v)) else cue.judge(v) for v in (less, more)]
    assert grade[0] <= grade[1]


CLEAN = dict.fromkeys(QUANTITIES, 0.0) | {
    "hip_top_deg": 178.0,
    "knee_top_deg": 90.0,
    "bend_top_deg": 90.0,
    "rise_ratio": 1.0,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [  # (quantities, labels as FAULTS.md words them)
        ({}, {}),
        ({"hip_top_deg": 193.0}, {"overarch": 1.0}),
        ({"hip_top_deg": 188.0}, {"overarch": None}),
        ({"lumbar_top": 0.05}, {"overarch": 1.0}),
        ({"lumbar_top": -0.035}, {"tuck": 1.0}),
        ({"bend_top_deg": 114.0, "lean_top_deg": 21.0}, {"feet_too_far": 1.0}),
        ({"lean_top_deg": 12.0}, {"feet_too_far": None}),
        ({"hip_top_deg": 158.0}, {"partial_range": 1.0}),
        ({"hip_top_deg": 165.0}, {"partial_range": None}),
        ({"rise_ratio": 0.7}, {"partial_range": 1.0}),
        ({"rise_ratio": 0.7, "hip_top_deg": float("nan")}, {"partial_range": 1.0, "overarch": None}),
    ],
)
def test_labels_follow_the_table(change, expected):
    for fault in FAULTS:
        label = judge(fault, CLEAN | change)
        wanted = expected.get(fault.key, 0.0)
        assert math.isnan(label) if wanted is None else label == wanted, fault.key
