import numpy as np
import pytest
from conftest import write_labels

from src.motion.labels import COLUMNS, LabelError, read_labels

ROW = {
    "clip": "a.mp4",
    "subject": "ann",
    "view": "side",
    "overarch": "1",
    "tuck": "",
    "feet_too_far": "0",
    "partial_range": "0",
}
NAN = float("nan")


def test_a_good_table_is_read(tmp_path):
    write_labels(
        tmp_path,
        [ROW | {"start_s": "0", "end_s": "2.5"}, ROW | {"start_s": "2.5", "end_s": "4"}, ROW | {"clip": "b, ü.mp4"}],
    )
    first, second, third = read_labels(tmp_path / "labels.csv")
    assert first.faults[0] == 1.0 and np.isnan(first.faults[1]) and first.faults[2:] == (0.0, 0.0)
    assert (first.start_s, first.end_s, second.start_s, third.start_s) == (
        0.0,
        2.5,
        2.5,
        None,
    ) and third.clip == "b, ü.mp4"
    text = (tmp_path / "labels.csv").read_bytes()
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbf" + text)  # as spreadsheets write it
    assert len(read_labels(tmp_path / "labels.csv")) == 3


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"overarch": "2"}, ["line 2", "overarch", "'2'"]),
        ({"tuck": "yes"}, ["line 2", "tuck", "'yes'"]),
        ({"overarch": "nan"}, ["line 2", "overarch"]),
        ({"start_s": "one", "end_s": "2"}, ["line 2", "start_s", "'one'"]),
        ({"start_s": "1"}, ["line 2", "start_s", "end_s"]),
        ({"start_s": "3", "end_s": "2"}, ["line 2", "'3'", "'2'"]),
        ({"start_s": "-1", "end_s": "2"}, ["line 2", "'-1'"]),
        ({"start_s": "nan", "end_s": "2"}, ["line 2", "'nan'"]),
        ({"start_s": "0", "end_s": "inf"}, ["line 2", "'inf'"]),
        ({"clip": " "}, ["line 2", "clip"]),
        ({"subject": ""}, ["line 2", "subject"]),
        ({"view": "sideways"}, ["line 2", "view", "'sideways'"]),
    ],
)
def test_a_bad_cell_is_named(tmp_path, change, names):
    write_labels(tmp_path, [ROW | change])
    with pytest.raises(LabelError) as caught:
        read_labels(tmp_path / "labels.csv")
    assert all(name in str(caught.value) for name in ["labels.csv", *names]) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "times",
    [
        [("0", "2"), ("1.9", "3")],
        [("", ""), ("1", "2")],
        [("1", "2"), ("", "")],
        [("", ""), ("", "")],
        [("1", "2"), ("1", "2")],
    ],
)
def test_rows_that_claim_the_same_second_are_refused(tmp_path, times):
    write_labels(tmp_path, [ROW | {"start_s": start, "end_s": end} for start, end in times])
    with pytest.raises(LabelError, match="a.mp4 overlap"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (",".join(COLUMNS).replace("overarch", "overach") + "\n", "overarch"),
        (",".join(COLUMNS) + ",overarhc\n", "overarhc"),
        (",".join([*COLUMNS, "tuck"]) + "\n", "tuck"),
        ("", "clip"),
        (",".join(COLUMNS) + "\na.mp4,ann\n", "line 2"),
        (",".join(COLUMNS) + "\n" + "a," * 20 + "\n", "line 2"),
    ],
    ids=["misspelt column", "unknown column", "column twice", "empty", "few cells", "many cells"],
)
def test_a_table_of_another_shape_is_named(tmp_path, text, names):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(LabelError) as caught:
        read_labels(tmp_path / "labels.csv")
    assert names in str(caught.value) and "labels.csv" in str(caught.value)


def test_an_unreadable_table_is_named(tmp_path):
    with pytest.raises(LabelError, match="labels.csv"):
        read_labels(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00clip")
    with pytest.raises(LabelError, match="labels.csv"):
        read_labels(tmp_path / "labels.csv")


def test_an_unknown_hidden_fault_is_refused(tmp_path):
    row = {"clip": "a.mp4", "subject": "ann", "view": "side"}
    write_labels(tmp_path, [row | {"hidden": "tuck overarch"}])
    assert read_labels(tmp_path / "labels.csv")[0].hidden == ("tuck", "overarch")
    write_labels(tmp_path, [row | {"hidden": "tuk"}])
    with pytest.raises(LabelError, match="column hidden: 'tuk'"):
        read_labels(tmp_path / "labels.csv")
