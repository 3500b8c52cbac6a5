from types import SimpleNamespace

import numpy as np

from src.report.strata import judge_confounders


def test_claims_count_where_there_is_no_fault_and_people_once():
    common = {
        "thigh_m": 0.4,
        "trunk_m": 0.5,
        "bench_m": 0.4,
        "stance_m": 0.3,
        "belly": 0.1,
        "loose_m": np.nan,
        "chin_deg": 50,
    }
    truths = [SimpleNamespace(traits=common | {"belly": belly}) for belly in (0.3, 0.3, 0.1, 0.1)]
    judged = SimpleNamespace(
        truths=(*truths, None), people=["a", "a", "b", "c", "d"], labels=("tuck",),
        faults=np.array([[0.0], [1.0], [0.0], [np.nan], [0.0]]), decisions=np.array([[1.0], [1.0], [np.nan], [1.0], [1.0]]),
    )  # fmt: skip
    assert judge_confounders(judged) == {
        "everybody": {"people": 3, "faults": {"tuck": {"reps": 2, "claims": 1}}},
        "belly": {"people": 1, "faults": {"tuck": {"reps": 1, "claims": 1}}},
    }
