import csv
import json
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src import import_labels
from src.motion.annotation import LABELS, covers
from src.motion.faults import FAULT_KEYS
from src.motion.labels import COLUMNS, VIEWS, LabelError, read_labels
from src.video import datasheet

WRITE = datasheet.write
NOT_MARKED = dict.fromkeys(FAULT_KEYS, "0")


def movie(path, frames=120, rate=25, ms=None):
    """A small true video; what it shows does not matter here."""
    base = Fraction(1, 1000) if ms else Fraction(1, rate)
    with av.open(str(path), "w") as box:
        track = box.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        track.width, track.height, track.pix_fmt = 32, 16, "yuv420p"
        track.codec_context.time_base = track.time_base = base
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), t, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = (ms[t] if ms else t), base
            box.mux(track.encode(frame))
        box.mux(track.encode())
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder of clips: a.mp4 and b.mp4, 4.8 s at 25 Hz."""
    clips = tmp_path / "mine"
    clips.mkdir()
    for name in ("a.mp4", "b.mp4"):
        movie(clips / name)
    return clips


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """``python -m src.import_labels`` here: (exit status, its output, the written rows or None)."""

    def call(*arguments, subjects=(("a.mp4", "ann"), ("b.mp4", "bob")), describe=lambda folder, table: None):
        monkeypatch.setattr(import_labels.datasheet, "write", describe)  # slow, and tested elsewhere
        options = ["--clips", str(folder)]
        if subjects:
            table = folder.parent / "subjects.csv"
            table.write_text("clip,subject\n" + "".join(f"{clip},{who}\n" for clip, who in subjects))
            options += ["--subjects", str(table)]
        monkeypatch.setattr(sys, "argv", ["import_labels", *map(str, arguments), *options])
        try:
            import_labels.main()
            status = 0
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
        target = folder / "labels.csv"
        if status:
            assert said.err.startswith("error: ") and said.err.count("\n") == 1 and "Traceback" not in said.err
        return status, said.out + said.err, table_of(target) if target.exists() else None

    return call


def table_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def timeline(start, end, *labels):
    """A region of the TimelineLabels tag; frames count from 1."""
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": list(labels)}
    return {"id": f"r{start}", "from_name": "tl", "to_name": "video", "type": "timelinelabels", "value": value}


def choice(*labels, of="c", ranges=None):
    value = {"choices": list(labels)} | ({"ranges": ranges} if ranges else {})
    return {"id": of, "from_name": "ch", "to_name": "video", "type": "choices", "value": value}


def task(video, *results, by=1, **more):
    given = {"id": 7, "completed_by": by, "result": list(results), "was_cancelled": False, "ground_truth": False}
    return {"id": 3, "data": {"video": video}, "annotations": [given | more], "predictions": [], "drafts": []}


@pytest.fixture
def studio(folder):
    """Write a Label Studio export."""

    def write(*tasks, name="export.json"):
        path = folder.parent / name
        path.write_text(json.dumps(list(tasks)))
        return path

    return write


UPLOAD = "/data/upload/4/1b2c3d4e-a.mp4"


def test_label_studio_ranges_become_reps(command, studio):
    status, out, rows = command(
        studio(
            task(
                UPLOAD,
                timeline(1, 51, "rep"),
                timeline(51, 101, "rep", "tuck"),
                timeline(61, 100, "overarch"),  # 39 of the second rep's 50 frames, counted from 0
                timeline(1, 30, "uncertain:feet_too_far"),
                timeline(10, 10, "partial_range"),  # one frame is enough
                choice("feet_too_far"),
                by={"id": 2, "email": "rater@example.org"},
            )
        )
    )
    assert status == 0, out
    first, second = rows
    assert (first["start_s"], first["end_s"], second["start_s"], second["end_s"]) == (
        "0.000",
        "2.000",
        "2.000",
        "4.000",
    )
    assert {key: first[key] for key in FAULT_KEYS} == NOT_MARKED | {"feet_too_far": "", "partial_range": "1"}
    assert {key: second[key] for key in FAULT_KEYS} == NOT_MARKED | {"overarch": "1", "tuck": "1", "feet_too_far": "1"}
    assert first["clip"] == "a.mp4" and first["subject"] == "ann"
    assert first["rater"] == "rater@example.org" and first["source"] == "label_studio"


def test_label_studio_choices_of_a_region_and_other_addresses(command, studio):
    local = task("/data/local-files/?d=gym%2Fset%201/b.mp4", timeline(1, 51, "rep"), by=4)
    local["annotations"][0]["result"] += [timeline(60, 99, "rep"), choice("tuck", of="r60"), choice("clean", of="r1")]
    local["annotations"][0]["result"] += [choice("overarch", of="r60", ranges=[{"start": 60, "end": 99}])]
    whole = task("s3://bucket/gym/%61.mp4", choice("clean"))
    skipped = task("c.mp4", timeline(1, 51, "rep"), was_cancelled=True)
    status, out, rows = command(studio(local, whole, skipped))
    assert status == 0, out
    assert [row["clip"] for row in rows] == ["a.mp4", "b.mp4", "b.mp4"]
    assert rows[0]["start_s"] == "" and {key: rows[0][key] for key in FAULT_KEYS} == NOT_MARKED
    assert {key: rows[1][key] for key in FAULT_KEYS} == NOT_MARKED and rows[1]["rater"] == "4"
    assert {key: rows[2][key] for key in FAULT_KEYS} == NOT_MARKED | {"overarch": "1", "tuck": "1"}


def test_label_studio_ticks_may_have_another_rate_than_the_clip(command, studio):
    export = studio(task("a.mp4", timeline(1, 49, "rep")))
    assert command(export)[1].endswith("\nwithout labels: b.mp4\n")
    assert command(export, "--tag-hz", "24", "--force")[2][0]["end_s"] == "2.000"
    assert command(export, "--force")[2][0]["end_s"] == "1.920"


def test_raters_are_chosen_not_mixed(command, studio):
    twice = task("a.mp4", timeline(1, 51, "rep"))
    twice["annotations"] += task("a.mp4", timeline(1, 61, "rep", "tuck"), by=2)["annotations"]
    twice["annotations"] += task("a.mp4", timeline(1, 99, "rep"), by=3, was_cancelled=True)["annotations"]
    status, out, rows = command(studio(twice))
    assert status == 1 and rows is None and "a.mp4 is annotated twice (by 1, 2)" in out
    assert command(studio(twice), "--rater", "2")[2][0]["tuck"] == "1"
    two = [task(f"/data/upload/1/{name}-a.mp4", timeline(1, 51, "rep")) for name in ("0000000a", "0000000b")]
    status, out, _ = command(studio(*two), "--force")
    assert status == 1 and "a.mp4 is annotated twice" in out
    status, out, _ = command(studio(twice), "--rater", "9", "--force")
    assert status == 1 and "no annotated clip by that rater" in out


def test_what_is_not_asked_is_uncertain_and_what_is_ignored_is_gone(command, studio):
    box = {"type": "videorectangle", "value": {"sequence": [], "labels": ["person"]}, "id": "b"}
    twin = {"type": "timelinelabels", "value": {"sequence": [], "timelinelabels": ["rep"]}, "id": "b"}
    note = {"type": "textarea", "value": {"text": ["nice"]}, "id": "n"}
    export = studio(task("a.mp4", timeline(1, 51, "rep", "tuck"), box, twin, note))
    status, out, _ = command(export)
    assert status == 1 and "unknown label" in out and "--ignore videorectangle" in out
    status, out, rows = command(
        export, "--ignore", "videorectangle", "--ignore", "textarea", "--faults", "tuck,overarch"
    )
    assert status == 0, out
    assert {key: rows[0][key] for key in FAULT_KEYS} == {
        "overarch": "0", "tuck": "1", "feet_too_far": "", "partial_range": "",
    }  # fmt: skip


def shape(frame, outside=0, **attributes):
    inside = "".join(f'<attribute name="{name}">{value}</attribute>' for name, value in attributes.items())
    return f'<box frame="{frame}" keyframe="1" outside="{outside}" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2">{inside}</box>'


def track(label, *shapes, of=""):
    return f'<track id="0" label="{label}" source="manual"{of}>{"".join(shapes)}</track>'


def a_task(video="a.mp4", labels=LABELS, number=5, extra=""):
    names = "".join(f"<label><name>{label}</name><attributes/></label>" for label in labels)
    return (
        f"<task><id>{number}</id><name>set</name><labels>{names}</labels>{extra}"
        f"<owner><username>olga</username></owner><source>{video}</source></task>"
    )


@pytest.fixture
def cvat(folder):
    """Write a CVAT export; a project if there are several tasks."""

    def write(body, *tasks, name="annotations.xml"):
        meta = tasks[0] if len(tasks) == 1 else f"<project><tasks>{''.join(tasks)}</tasks></project>"
        path = folder.parent / name
        path.write_text(f"<annotations><version>1.1</version><meta>{meta}</meta>{body}</annotations>")
        return path

    return write


def test_cvat_tracks_become_reps(command, cvat):
    body = (
        track("rep", shape(0, tuck="true", overarch="false"), shape(50, 1, tuck="true", overarch="false"))
        + track("rep", shape(50, tuck="uncertain"), shape(119, tuck="uncertain"))
        + track("feet_too_far", *(shape(t) for t in range(60, 120)))  # all frames listed, as CVAT writes them
        + track("partial_range", shape(10), shape(11, 1))  # one frame
        + track("uncertain:overarch", shape(49), shape(100, 1))
        + track("overarch", shape(50), shape(119))
    )
    status, out, rows = command(cvat(body, a_task()))
    assert status == 0, out
    times = [(row["start_s"], row["end_s"]) for row in rows]
    assert times == [("0.000", "1.960"), ("2.000", "4.760")]
    assert {key: rows[0][key] for key in FAULT_KEYS} == NOT_MARKED | {"tuck": "1", "partial_range": "1"}
    assert {key: rows[1][key] for key in FAULT_KEYS} == NOT_MARKED | {"overarch": "", "tuck": "", "feet_too_far": "1"}
    assert rows[0]["rater"] == "olga" and rows[0]["source"] == "cvat"


def test_cvat_asks_only_for_the_faults_among_its_labels(command, cvat):
    asked = a_task(labels=("rep", "tuck", "uncertain:overarch"))
    _, _, rows = command(cvat(track("rep", shape(0), shape(50, 1)), asked))
    assert {key: rows[0][key] for key in FAULT_KEYS} == {
        "overarch": "0", "tuck": "0", "feet_too_far": "", "partial_range": "",
    }  # fmt: skip


def test_cvat_attribute_that_changes_within_the_rep(command, cvat):
    body = track("rep", shape(0, tuck="false"), shape(20, tuck="true"), shape(51, 1, tuck="true"))
    body += track("rep", shape(60, tuck="true"), shape(70, tuck="false"), shape(119, tuck="false"))
    status, out, rows = command(cvat(body, a_task()))
    assert status == 1 and "tuck at frames 60-69" in out and "covers no rep by more than half" in out and rows is None
    _, _, rows = command(cvat(track("rep", shape(0), shape(20, tuck="true"), shape(51, 1)), a_task()))
    assert rows[0]["tuck"] == "1"


def test_cvat_tags_of_images_and_frames_of_a_part_of_the_clip(command, cvat):
    step = "<start_frame>10</start_frame><stop_frame>119</stop_frame><frame_filter>step=5</frame_filter>"
    tags = {t: ["rep"] + ["tuck"] * (t < 7) for t in range(11)} | {12: ["rep"], 13: ["rep"]}
    body = "".join(
        f'<image id="{t}" name="frame_{10 + 5 * t:06d}" width="32" height="16">'
        + "".join(f'<tag label="{label}" source="manual"></tag>' for label in labels) + "</image>"
        for t, labels in tags.items()
    )  # fmt: skip
    status, out, rows = command(cvat(body, a_task(extra=step)))
    assert status == 0, out
    assert [(row["start_s"], row["end_s"], row["tuck"]) for row in rows] == [
        ("0.400", "2.400", "1"),
        ("2.800", "3.000", "0"),
    ]
    body = track("rep", shape(10), shape(60, 1)) + track("overarch", shape(20), shape(25, 1))
    _, _, rows = command(cvat(body, a_task(extra=step)), "--force")
    assert rows[0]["end_s"] == "2.200" and rows[0]["overarch"] == "1"  # with step 5 it is one frame of the task


def test_cvat_project_of_two_clips(command, cvat):
    body = track("rep", shape(0), shape(50, 1), of=' task_id="5"') + track(
        "rep", shape(5), shape(90, 1), of=' task_id="6"'
    )
    status, out, rows = command(cvat(body, a_task(), a_task("b.mp4", number=6)))
    assert status == 0, out
    assert [(row["clip"], row["start_s"]) for row in rows] == [("a.mp4", "0.000"), ("b.mp4", "0.200")]


def test_times_come_from_the_file_also_when_its_rate_varies(command, cvat, folder):
    movie(folder / "a.mp4", 60, ms=[t * 20 + (t > 30) * 400 for t in range(60)])
    _, _, rows = command(cvat(track("rep", shape(10), shape(41, 1)), a_task()))
    assert (rows[0]["start_s"], rows[0]["end_s"]) == ("0.200", "1.200")


ROW = dict(
    zip(
        COLUMNS, ["a.mp4", "ann", "0.5", "2", "1", "", "0", "0", "side", "left", "hip_thrust", "me", "gym"], strict=True
    )
)


def csv_file(path, *rows, columns=COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_table_needs_only_what_is_known(command, folder):
    rows = [{"clip": "a.mp4", "start_s": "0", "end_s": "1.5", "tuck": "1"}, {"clip": "b.mp4", "tuck": ""}]
    export = csv_file(folder.parent / "mine.csv", *rows, columns=["clip", "start_s", "end_s", "tuck"])
    status, out, written = command(export)
    assert status == 0, out
    assert written[0] == dict.fromkeys(COLUMNS, "") | rows[0] | {"subject": "ann"}
    assert written[1] == dict.fromkeys(COLUMNS, "") | rows[1] | {"subject": "bob"}
    assert "2 rows, 2 clips, 2 people" in out and "tuck 1" in out and "without labels" not in out


CELLS = st.fixed_dictionaries(
    {key: st.sampled_from(["0", "1", ""]) for key in FAULT_KEYS}
    | {"view": st.sampled_from(VIEWS), "side": st.sampled_from(["left", "right", ""])}
    | {
        key: st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8)
        for key in ("variant", "rater", "source")
    }
)
CUTS = st.lists(st.integers(0, 480), min_size=2, max_size=8, unique=True).map(sorted)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=CUTS, cells=st.lists(CELLS, min_size=8, max_size=8), subject=st.sampled_from(["ann", "Änne, 2", '"x"']))
def test_importing_an_export_changes_nothing(command, folder, cuts, cells, subject):
    times = [(f"{start / 100:g}", f"{end / 100:g}") for start, end in zip(cuts, cuts[1:], strict=False)]
    rows = [
        cell | {"clip": "a.mp4", "subject": subject, "start_s": start, "end_s": end}
        for (start, end), cell in zip(times, cells, strict=False)
    ]
    rows.append(cells[-1] | {"clip": "b.mp4", "subject": "bob", "start_s": "", "end_s": ""})
    export = csv_file(folder.parent / "labels.csv", *rows)
    status, out, written = command(export, "--force", subjects=())
    assert status == 0, out
    assert written == rows
    assert repr(read_labels(folder / "labels.csv")) == repr(read_labels(export))
    first = (folder / "labels.csv").read_bytes()
    again = folder.parent / "again.csv"
    again.write_bytes(first)
    assert command(again, "--force", subjects=())[0] == 0 and (folder / "labels.csv").read_bytes() == first


SPANS = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted).map(tuple)


@given(SPANS, SPANS)
def test_a_range_no_longer_than_a_rep_speaks_of_at_most_one_of_two_that_touch(span, rep):
    after = (rep[1], 2 * rep[1] - rep[0])
    if 0 < span[1] - span[0] <= rep[1] - rep[0]:
        assert not (covers(span, rep) and covers(span, after))
    even = (rep[0], rep[1] + (rep[1] - rep[0]))
    assert covers(rep, even) == (rep[0] == rep[1])  # exactly half is not more than half
    assert covers(rep, rep) and covers(None, rep) and covers(None, None) and not covers(span, None)


BAD = {
    "no such clip": ([ROW | {"clip": "c.mp4"}], ["line 2", "unknown clip 'c.mp4'"]),
    "a bad fault": ([ROW | {"tuck": "yes"}], ["line 2", "tuck", "'yes'"]),
    "overlap": ([ROW, ROW | {"start_s": "1.9", "end_s": "3"}], ["a.mp4 overlap at 1.90 s"]),
    "negative": ([ROW | {"start_s": "-1"}], ["line 2", "'-1'"]),
    "inverted": ([ROW | {"start_s": "3"}], ["line 2", "'3'", "'2'"]),
    "past the end": ([ROW, ROW | {"start_s": "4", "end_s": "4.9"}], ["line 3", "4.9 s is past the end", "4.80 s"]),
    "nobody": ([ROW | {"subject": ""}, ROW | {"clip": "b.mp4", "subject": " "}], ["no subject for a.mp4, b.mp4"]),
    "no row": ([], ["no annotated clip"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_named_and_nothing_is_written(command, folder, name):
    rows, says = BAD[name]
    (folder / "labels.csv").write_text("as before\n")
    before = (folder / "labels.csv").read_bytes()
    status, out, _ = command(csv_file(folder.parent / "mine.csv", *rows), "--force", subjects=())
    assert status == 1 and all(words in out for words in says), out
    assert (folder / "labels.csv").read_bytes() == before


BAD_MARKS = {
    "unknown label": ([timeline(1, 51, "overach")], "unknown label; known are rep"),
    "inverted": ([timeline(51, 1, "rep")], "no range of frames 0-120"),
    "before the start": ([timeline(0, 51, "rep")], "no range of frames"),
    "past the end": ([timeline(1, 140, "rep")], "no range of frames 0-120"),
    "half a frame": ([timeline(1, 50.5, "rep")], "frame 50.5 is no whole number"),
    "overlapping reps": ([timeline(1, 51, "rep"), timeline(50, 90, "rep")], "a.mp4 overlap at 1.96 s"),
    "a fault between reps": ([timeline(1, 51, "rep"), timeline(60, 80, "tuck")], "covers no rep"),
    "a fault without a rep": ([timeline(60, 80, "tuck")], "no rep is marked"),
    "a rep without a range": ([choice("rep")], "a rep needs a range"),
    "nothing": ([], "annotated with nothing"),
    "clean and not": ([timeline(1, 51, "rep"), choice("clean", "tuck")], "clean and tuck"),
    "a region without frames": (
        [{"type": "timelinelabels", "id": "x", "value": {"timelinelabels": ["rep"]}}],
        "rep: a timeline label without a range",
    ),
}


@pytest.mark.parametrize("name", BAD_MARKS)
def test_marks_that_make_no_sense_are_named(command, studio, name):
    results, says = BAD_MARKS[name]
    status, out, rows = command(studio(task("a.mp4", *results)))
    assert status == 1 and "export.json: " in out and says in out and rows is None, out


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("{", "x.json", "cannot be read"),
        ('{"a": 1}', "x.json", "no Label Studio export"),
        ('[{"video": "a.mp4", "tl": []}]', "x.json", "JSON-MIN"),
        ('[{"data": {"one": "a.mp4", "two": "b.mp4"}, "annotations": [{"result": []}]}]', "x.json", "one, two"),
        ("<annotations>", "x.xml", "cannot be read"),
        ("<other/>", "x.xml", "no annotations.xml of CVAT"),
        ("<annotations><meta><task/></meta><track><box frame='a'/></track></annotations>", "x.xml", "frame number"),
        ("clip,overach\na.mp4,1\n", "x.csv", "unknown or doubled column overach"),
        ("subject\nann\n", "x.csv", "no column clip"),
        ("clip,tuck\na.mp4\n", "x.csv", "line 2: has another number of cells"),
    ],
)
def test_a_file_of_another_kind_is_named(command, folder, text, name, says):
    (folder.parent / name).write_text(text)
    status, out, rows = command(folder.parent / name)
    assert status == 1 and name in out and says in out and rows is None, out


def test_a_missing_export_and_a_broken_clip_are_named(command, folder, studio):
    status, out, _ = command(folder.parent / "missing.json")
    assert status == 1 and "missing.json" in out
    (folder / "a.mp4").write_text("no video")
    status, out, _ = command(studio(task("a.mp4", timeline(1, 51, "rep"))))
    assert status == 1 and "a.mp4" in out and "video" in out


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("clip,subject\na.mp4,ann\na.mp4,bob\n", "line 3: a.mp4 a second time"),
        ("clip,subject,age\na.mp4,ann,3\n", "column age"),
        ("clip,subject,view\na.mp4,ann,front\n", "'front'"),
        ("clip,subject\na.mp4,bob\n", "subject 'ann', but 'bob'"),
    ],
)
def test_a_bad_table_of_subjects_is_named(command, folder, table, says):
    (folder.parent / "who.csv").write_text(table)
    export = csv_file(folder.parent / "mine.csv", ROW | {"view": ""})
    status, out, rows = command(export, "--subjects", folder.parent / "who.csv", subjects=())
    assert status == 1 and says in out and rows is None, out


def test_views_sides_and_splits_come_from_the_table_of_subjects(command, folder, studio):
    (folder.parent / "who.csv").write_text("clip,subject,view,side,split\na.mp4,ann,side,left,test\n")
    export = studio(task("a.mp4", timeline(1, 51, "rep")))
    _, _, rows = command(export, "--subjects", folder.parent / "who.csv", subjects=())
    assert (rows[0]["view"], rows[0]["side"], rows[0]["split"]) == ("side", "left", "test")
    again = folder.parent / "again.csv"
    again.write_bytes((folder / "labels.csv").read_bytes())
    assert command(again, "--force", subjects=())[2] == rows


@pytest.mark.parametrize("other", ["train", ""])
def test_nobody_is_in_two_splits(command, folder, studio, other):
    (folder.parent / "who.csv").write_text(f"clip,subject,split\na.mp4,ann,test\nb.mp4,ann,{other}\n")
    export = studio(task("a.mp4", choice("clean")), task("b.mp4", choice("clean")))
    status, out, rows = command(export, "--subjects", folder.parent / "who.csv", subjects=())
    assert status == 1 and "who.csv: ann is in split test and in" in out and rows is None


def test_wrong_usage_is_exit_2(command, folder, studio):
    export = studio(task("a.mp4", timeline(1, 51, "rep")))
    for arguments, says in [
        ([folder / "a.mp4"], "a.mp4: an export is"),
        ([export, "--faults", "tuck,overach"], "overach"),
        ([export, "--tag-hz", "nan"], "nan"),
    ]:
        status, out, rows = command(*arguments)
        assert status == 2 and says in out and rows is None
    assert command(export)[0] == 0
    status, out, _ = command(export)
    assert status == 2 and "--force" in out


def test_what_training_could_not_read_back_is_not_put_in_place(command, folder, studio, monkeypatch):
    def refuse(path):
        assert path.exists() and not (folder / "labels.csv").exists()
        raise LabelError("no good")

    monkeypatch.setattr(import_labels, "read_labels", refuse)
    status, out, rows = command(studio(task("a.mp4", timeline(1, 51, "rep"))))
    assert status == 1 and "no good" in out and rows is None


def test_a_clip_whose_pictures_cannot_be_decoded_leaves_no_labels(command, folder, studio):
    film = bytearray((folder / "a.mp4").read_bytes())
    start = film.index(b"mdat") + 4
    film[start : film.index(b"moov") - 4] = b"\xff" * (film.index(b"moov") - 4 - start)
    (folder / "a.mp4").write_bytes(film)
    status, out, rows = command(studio(task("a.mp4", timeline(1, 51, "rep"))), describe=WRITE)
    assert status == 1 and "a.mp4" in out and rows is None and not (folder / "datasheet.md").exists()


def test_a_datasheet_is_written_beside_the_labels(command, folder, studio):
    status, out, _ = command(studio(task("a.mp4", timeline(1, 51, "rep"))), describe=WRITE)
    assert status == 0, out
    assert "1 labelled reps" in (folder / "datasheet.md").read_text() and (folder / "frames.jpg").stat().st_size > 5000
