import csv
import json
import os
import sys
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from conftest import random_core, thrust, torch_alone
from hypothesis import given
from hypothesis import strategies as st

from src import predict
from src.batch.inputs import clip_names, find_jobs
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import HIP_THRUST, mirror
from src.motion.measure import Measures
from src.motion.model import ModelError
from src.motion.reps import find_reps
from src.motion.verdict import STATUSES, Scorer, judge_track, on_its_head
from src.pages.page import page_folder

CPU = torch.device("cpu")
CLIP_COLUMNS = ["clip", "status", "reason", "reps", "view", *(f"p_{key}" for key in FAULT_KEYS), *FAULT_KEYS]
CLIP_COLUMNS += ["people", "confidence"]
REP_COLUMNS = ["clip", "rep", "start_s", "top_s", "end_s", "complete", *(f"p_{key}" for key in FAULT_KEYS), *FAULT_KEYS]
ANGLES = ["hip_top_deg", "hip_bottom_deg", "knee_top_deg", "shin_top_deg", "trunk_top_deg"]


@pytest.fixture(scope="module")
def scorer(core_path):
    return Scorer(core_path, CPU)


def movie(path, frames=12):
    """A small true video; what it shows does not matter here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for t in range(frames):
            picture = np.full((96, 160, 3), 10 * t, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = t, Fraction(1, 30)
            box.mux(stream.encode(frame))
        box.mux(stream.encode())
    return path


def seen_by(track):
    """A detector that really takes every frame and then answers with this track."""

    def follow(frames, fps_hz, size_px):
        assert fps_hz > 0 and size_px == (160, 96) and sum(1 for _ in frames) > 0
        return track

    return follow


@pytest.fixture
def command(core_path, monkeypatch, tmp_path):
    """``python -m src.predict`` here, with a detector that needs no pixels: (exit status, folder of results)."""

    def call(*arguments, track=None, out="results"):
        monkeypatch.setattr(predict, "make_detector", lambda cfg: seen_by(track or thrust(2)))
        monkeypatch.setenv("COLUMNS", "200")
        options = ["--out", str(tmp_path / out), "--core", str(core_path), "--device", "cpu", "--workers", "0"]
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments), *options])
        with pytest.raises(SystemExit) as stop:
            predict.main()
        return stop.value.code, tmp_path / out

    return call


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hidden(track):
    """Hips and knees jump about, as behind plates; the rises stay visible in the mean."""
    rng = np.random.default_rng(0)
    keypoints = track.keypoints.copy()
    for i, name in enumerate(HIP_THRUST.points):
        if name.partition("_")[2] in ("hip", "knee", "ankle"):
            keypoints[:, i, :2] += rng.normal(0.0, 25.0, (len(keypoints), 2))
    return replace(track, keypoints=keypoints)


def unseen(track, share):
    keypoints = track.keypoints.copy()
    keypoints[int(share * len(keypoints)) :] = (np.nan, np.nan, 0.0)
    return replace(track, keypoints=keypoints)


TRACKS = {
    "ok": thrust(3),
    "no_person": unseen(thrust(3), 0.1),
    "several_people": thrust(3, people=2),
    "too_short": replace(thrust(3), keypoints=thrust(3).keypoints[:20]),
    "no_reps": thrust(0),
    "view_not_observable": thrust(3, width_m=0.6),
    "low_confidence": hidden(thrust(4)),
}


@pytest.mark.parametrize("status", TRACKS)
def test_every_status(scorer, status):
    verdict = judge_track("a.mp4", TRACKS[status], scorer)
    assert verdict.status == status and verdict.reason.startswith(STATUSES[status])
    decisions = [v for r in verdict.reps for v in r.decisions.values()] + list((verdict.decisions or {}).values())
    if status != "ok":
        assert set(decisions) <= {None}  # no fault is claimed and none denied
    assert bool(verdict.reps) == (status in ("ok", "several_people", "view_not_observable", "low_confidence"))


def test_hips_that_are_hidden_all_along_prove_no_idleness(scorer):
    track = thrust(0)
    keypoints = track.keypoints.copy()
    legs = [HIP_THRUST.index(f"{side}_{part}") for side in ("left", "right") for part in ("hip", "knee", "ankle")]
    keypoints[np.ix_(np.flatnonzero(np.arange(len(keypoints)) % 5), legs)] = (np.nan, np.nan, 0.0)
    verdict = judge_track("a.mp4", replace(track, keypoints=keypoints), scorer)
    assert verdict.status == "low_confidence" and not verdict.reps and verdict.decisions is None


def test_the_statuses_are_the_closed_list():
    assert set(STATUSES) == {*TRACKS, "unreadable"}


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_next_to_nothing_is_too_short(scorer, rows):
    track = replace(thrust(1), keypoints=thrust(1).keypoints[:rows], people=0)
    assert judge_track("a.mp4", track, scorer).status == "too_short"


@pytest.mark.parametrize("people", [0, 1])
def test_nobody_is_no_person(scorer, people):
    assert judge_track("a.mp4", replace(unseen(thrust(1), 0.0), people=people), scorer).status == "no_person"


def test_a_verdict_carries_the_numbers_of_its_reps(scorer):
    track = thrust(3, top_deg=193.0, facing=-1)
    verdict = judge_track("a.mp4", track, scorer)
    assert verdict.view == "side" and verdict.people == 1 and verdict.confidence > 0.8 and len(verdict.reps) == 3
    for i, rep in enumerate(verdict.reps):
        assert rep.rep == i + 1 and rep.start_s < rep.top_s < rep.end_s and rep.complete
        assert rep.measures.hip_top_deg == pytest.approx(193.0, abs=1.0)
        for key in FAULT_KEYS:
            assert 0.0 <= rep.probabilities[key] <= 1.0 and rep.start_s - 0.3 <= rep.evidence_s[key] <= rep.end_s + 0.3
            p, decision = rep.probabilities[key], rep.decisions[key]
            by_p = 1 if p >= 0.6 else 0 if p < 0.4 else None
            assert decision == (by_p if rep.observability[key] >= 0.5 else None)


def test_a_film_that_stands_on_its_head_is_not_judged(scorer):
    track = thrust(3)
    turned = track.keypoints.copy()
    turned[..., 1] = track.size_px[1] - 1 - turned[..., 1]
    verdict = judge_track("a.mp4", replace(track, keypoints=turned), scorer)
    assert verdict.status in ("view_not_observable", "no_reps") and not any((verdict.decisions or {}).values())
    assert on_its_head(replace(track, keypoints=turned)) and not on_its_head(track)


def test_a_mirrored_clip_has_the_same_verdict(scorer):
    track = thrust(2, noise_px=1.0)
    a, b = judge_track("a", track, scorer), judge_track("a", mirror(track), scorer)
    assert (a.status, a.view, a.decisions) == (b.status, b.view, b.decisions)
    for key in FAULT_KEYS:
        assert a.probabilities[key] == pytest.approx(b.probabilities[key], abs=1e-4)


def test_a_rep_feels_the_other_reps_only_through_who_rose_how_far(scorer):
    track = thrust(3, noise_px=1.0)
    reps = [replace(rep, rise=0.5) for rep in find_reps(track)]
    alone, together = scorer.judge(track, reps[1:2])[0], scorer.judge(track, reps)[1]
    for key in FAULT_KEYS:
        assert alone.probabilities[key] == pytest.approx(together.probabilities[key], abs=1e-5)


@pytest.mark.parametrize(
    ("reps", "fault"), [((0.99, 0.3, 0.3), False), ((0.99, 0.9, 0.1), True), ((0.1, 0.2, 0.1), False), ((0.99,), True)]
)
def test_a_fault_of_a_clip_shows_in_two_reps_if_it_has_two(core_path, reps, fault):
    scorer = Scorer(core_path, CPU)

    def core(keypoints, fps_hz, frames, rise_ratio):
        p = torch.tensor(reps)[:, None].expand(-1, len(FAULT_KEYS))
        return p, torch.zeros(len(reps), keypoints.shape[1], len(FAULT_KEYS)), torch.ones_like(p)

    scorer.core = core
    verdict = judge_track("a.mp4", thrust(len(reps)), scorer)
    assert all((decision == 1) == fault for decision in verdict.decisions.values())


def test_a_file_that_is_no_core_is_named(tmp_path):
    torch.jit.save(torch.jit.script(random_core()), str(tmp_path / "bare.pt"))
    (tmp_path / "text.pt").write_text("no core")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("bare.pt", "text.pt", "empty.pt", "missing.pt"):
        with pytest.raises(ModelError, match=name):
            Scorer(tmp_path / name, CPU)


def test_folders_are_searched_and_files_taken_as_given(tmp_path):
    for name in ("b.MP4", "a.mov", "sub/deep/c.mkv", "notes.txt", "sub/labels.csv", "music.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    inputs = [str(tmp_path), str(tmp_path / "a.mov"), str(tmp_path / "notes.txt"), "nowhere.mp4"]
    found = [job.path for job in find_jobs(inputs, tmp_path / "results")]
    assert [str(p.relative_to(tmp_path)) if p.is_absolute() else str(p) for p in found] == [
        "a.mov", "b.MP4", "sub/deep/c.mkv", "notes.txt", "nowhere.mp4",
    ]  # fmt: skip


PARTS = st.sampled_from(["a", "b", "c.mp4", "ü (1).mp4", "x=y[2].mov"])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: Path("/", *parts)), unique=True, max_size=8))
def test_every_clip_has_a_name_of_its_own(paths):
    names = clip_names(paths)
    assert len(set(names)) == len(names) == len(paths)
    assert all(str(path).endswith(name) and not name.startswith("/") for name, path in zip(names, paths, strict=True))
    plain = [path.name for path in paths]
    assert all(name == last for name, last in zip(names, plain, strict=True) if plain.count(last) == 1)


def test_any_file_name_goes_all_the_way(command, tmp_path):
    names = ["my video (1).mp4", "a=b.mp4", "x[2].mp4", "Hüfte 大.mp4", "-dash.mp4", "comma, 'quote'.mp4"]
    names += ["mon/same.mp4", "tue/same.mp4", "mon__same.mp4"]
    for name in names:
        movie(tmp_path / "in" / name)
    status, out = command(tmp_path / "in", "--quiet")
    assert status == 0
    rows = table(out / "clips.csv")
    assert len({row["clip"] for row in rows}) == len(rows) == len(names) and {row["status"] for row in rows} == {"ok"}
    bodies = [json.loads(path.read_text(encoding="utf-8")) for path in (out / "json").glob("*.json")]
    assert {body["clip"] for body in bodies} == {row["clip"] for row in rows}
    assert {row["clip"] for row in table(out / "verdicts.csv")} == {row["clip"] for row in rows}


def test_names_that_are_no_utf8_go_all_the_way_too(command, tmp_path):
    odd = os.fsdecode(b"d\xfcnn.mp4")
    movie(tmp_path / "a.mp4").rename(tmp_path / odd)
    status, out = command(tmp_path / odd, tmp_path / os.fsdecode(b"gone\xfc.mp4"))
    rows = table(out / "clips.csv")
    assert status == 3 and [row["clip"] for row in rows] == ["d\\udcfcnn.mp4", "gone\\udcfc.mp4"]
    assert [row["status"] for row in rows] == ["ok", "unreadable"] and "no such file" in rows[1]["reason"]


def test_tables_have_the_columns_of_the_contract(command, tmp_path):
    status, out = command(movie(tmp_path / "a.mp4"))
    assert status == 0
    clips, reps = table(out / "clips.csv"), table(out / "verdicts.csv")
    assert list(clips[0]) == CLIP_COLUMNS
    assert list(reps[0])[: len(REP_COLUMNS)] == REP_COLUMNS
    measured = list(reps[0])[len(REP_COLUMNS) :]
    assert [name for name in measured if name in ANGLES] == ANGLES
    assert set(measured) == {f.name for f in fields(Measures)}
    assert clips[0]["reps"] == "2" == str(len(reps)) and [row["rep"] for row in reps] == ["1", "2"]
    for row in clips + reps:
        for key in FAULT_KEYS:
            assert 0.0 <= float(row[f"p_{key}"]) <= 1.0 and row[key] in ("0", "1", "")
    assert reps[0]["complete"] == "1" and float(reps[0]["hip_top_deg"]) == pytest.approx(180.0, abs=1.0)


def strict(path):
    """JSON as the rest of the world reads it: no NaN."""

    def refuse(word):
        raise ValueError(f"{path.name} holds {word}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_json_and_csv_hold_no_nan(command, tmp_path):
    cut_off = replace(thrust(1), keypoints=thrust(1).keypoints[:70])  # no fall: fall_s is missing
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    _, out = command(movie(tmp_path / "a.mp4"), tmp_path / "broken.mp4", track=cut_off)
    body = strict(out / "json" / "a.mp4.json")
    assert body["reps"][0]["complete"] is False and body["reps"][0]["measures"]["fall_s"] is None
    assert body["model"]["version"] == "0" and body["detector"] == "closed form"
    assert strict(out / "json" / "broken.mp4.json")["status"] == "unreadable"
    for name in ("clips.csv", "verdicts.csv"):
        cells = [cell.lower() for row in table(out / name) for cell in row.values()]
        assert not {"nan", "inf", "none", "true", "false"} & set(cells)
    assert table(out / "verdicts.csv")[0]["fall_s"] == ""


def test_broken_files_become_rows_and_exit_3(command, tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    whole = movie(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    inputs = [tmp_path / name for name in ("text.mp4", "whole.mp4", "empty.mp4", "cut.mp4", "missing.mp4")]
    status, out = command(*inputs)
    rows = table(out / "clips.csv")
    assert status == 3 and [row["clip"] for row in rows] == [path.name for path in inputs]
    assert [row["status"] for row in rows] == ["unreadable", "ok", "unreadable", "unreadable", "unreadable"]
    for row in rows:
        if row["status"] == "unreadable":
            assert row["reason"] and "\n" not in row["reason"] and row["reps"] == "0" and row["tuck"] == ""
    printed = capsys.readouterr().out
    assert "missing.mp4" in printed and "whole.mp4" in printed


def test_strict_stops_at_the_first_broken_file(command, tmp_path):
    (tmp_path / "b.mp4").write_text("not a video")
    inputs = [movie(tmp_path / "a.mp4"), tmp_path / "b.mp4", movie(tmp_path / "c.mp4")]
    status, out = command(*inputs, "--strict")
    assert status == 3 and [row["clip"] for row in table(out / "clips.csv")] == ["a.mp4", "b.mp4"]


def test_a_file_that_vanishes_in_a_run_is_a_row(command, tmp_path, monkeypatch):
    films = [movie(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    plain = predict.judge_job

    def removing(order, judge, job):
        films[1].unlink(missing_ok=True)
        return plain(order, judge, job)

    monkeypatch.setattr(predict, "judge_job", removing)
    status, out = command(*films)
    rows = table(out / "clips.csv")
    assert (
        status == 3 and [row["status"] for row in rows] == ["ok", "unreadable"] and "no such file" in rows[1]["reason"]
    )


@pytest.mark.parametrize(("options", "shown"), [(["--resume"], True), (["--resume", "--quiet"], False), ([], False)])
def test_reading_what_may_be_known_already_is_shown(command, tmp_path, monkeypatch, capsys, options, shown):
    films = [movie(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    command(*films, "--quiet")
    capsys.readouterr()
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    assert command(*films, *options)[0] == 0
    error = capsys.readouterr().err
    assert ("known already?" in error and "100%" in error) == shown


def test_a_file_that_vanishes_before_its_film_is_drawn_is_a_row(command, tmp_path, monkeypatch):
    def gone(*_):
        raise predict.ClipError(tmp_path / "a.mp4", "no such file")

    monkeypatch.setattr(predict, "write_page", gone)
    status, out = command(movie(tmp_path / "a.mp4"), "--report")
    assert status == 3 and table(out / "clips.csv")[0]["status"] == "unreadable"
    assert "a.mp4/index.html" not in (out / "report/index.html").read_text()


@pytest.mark.parametrize("step", ["write_page", "save_poses"])
def test_a_page_or_poses_that_cannot_be_made_cost_no_verdict_and_stop_nothing(command, tmp_path, monkeypatch, step):
    def page(out, verdict, *_):
        predict.write_text(page_folder(out, verdict.clip) / "index.html", "")

    def fails_on_a(out, what, *_):
        if "a.mp4" in (what, getattr(what, "clip", "")):
            raise ZeroDivisionError("Fraction(1, 0)")

    monkeypatch.setattr(predict, "write_page", page)
    whole = getattr(predict, step)
    monkeypatch.setattr(predict, step, fails_on_a)
    films = [movie(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    status, out = command(*films, "--report", "--save-poses")
    (a, b), index = table(out / "clips.csv"), out / "report/index.html"
    why = "its page or poses could not be made: ZeroDivisionError: Fraction(1, 0)"
    assert status == 3 and a["status"] == b["status"] != "unreadable" and a["reason"] == f"{b['reason']}; {why}"
    assert "a.mp4/index.html" not in index.read_text()
    monkeypatch.setattr(predict, step, whole)
    assert command(*films, "--report", "--save-poses", "--resume")[0] == 0
    first, second = table(out / "clips.csv")
    assert {**first, "clip": ""} == {**second, "clip": ""} and "a.mp4/index.html" in index.read_text()


def test_of_an_earlier_page_nothing_is_left_that_may_show_a_face(command, tmp_path, monkeypatch, capsys):
    stills = tmp_path / "results/report/a.mp4/rep_4.jpg", tmp_path / "results/report/b.mp4/film.mp4"
    for still in stills:
        still.parent.mkdir(parents=True)
        still.touch()
    monkeypatch.setattr(predict, "write_page", lambda out, verdict, *_: None)
    (tmp_path / "b.mp4").write_text("no video")
    status, out = command(movie(tmp_path / "a.mp4"), tmp_path / "b.mp4", "--anonymize")
    assert status == 3 and not any(still.exists() for still in stills)
    assert f"pages in {out / 'report/index.html'}" in capsys.readouterr().out


def test_an_earlier_page_that_cannot_be_removed_stops_the_run(command, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results/report").mkdir(parents=True)
    (tmp_path / "results/report/a.mp4").symlink_to(tmp_path / "elsewhere")  # not ours to empty
    status, _ = command(movie(tmp_path / "a.mp4"), "--anonymize", "--quiet")
    assert status == 1 and "symbolic link" in capsys.readouterr().err and (tmp_path / "elsewhere").is_dir()


def test_a_name_too_long_for_any_file_is_a_row(command, tmp_path):
    status, out = command("x" * 5000 + ".mp4", movie(tmp_path / "a.mp4"))
    assert status == 3 and [row["status"] == "unreadable" for row in table(out / "clips.csv")] == [True, False]


@pytest.mark.parametrize("out", ["results", "/sys/kernel"])
def test_results_that_cannot_be_written_stop_the_run_before_any_clip(command, tmp_path, capsys, out):
    """A file stands where the folder should be, or the folder is read-only, for root too."""
    (tmp_path / "results").touch()
    status, _ = command(movie(tmp_path / "a.mp4"), out=out)
    error = capsys.readouterr().err
    assert status == 2 and f"{out}: results cannot be written there" in error and "Traceback" not in error


@pytest.mark.parametrize(
    "full", ["json/b.mp4.json", "clips.csv", "verdicts.parquet", "poses/b.mp4.trc", "poses/b.mp4.mot"]
)
def test_a_full_disk_stops_the_run_with_what_to_do(command, tmp_path, capsys, full):
    films = [movie(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    part = tmp_path / f"results/{full}.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")  # the kernel's own: nothing can be written to it
    status, out = command(*films, "--quiet", "--save-poses")
    error = capsys.readouterr().err
    assert status == 1 and "No space left" in error and "--resume" in error and error.count("\n") == 1
    assert (out / "json/a.mp4.json").exists()
    if part.is_symlink():  # pyarrow removes what it could not write, and the second try went well
        assert not (out / full).exists()
    part.unlink(missing_ok=True)
    status, _ = command(*films, "--quiet", "--save-poses", "--resume")
    assert status == 0 and [row["status"] for row in table(out / "clips.csv")] == ["ok", "ok"] and (out / full).exists()


def test_a_run_that_finds_nothing_leaves_the_old_tables(command, tmp_path, monkeypatch):
    _, out = command(movie(tmp_path / "a.mp4"))
    before = (out / "clips.csv").read_bytes()
    monkeypatch.setattr(predict, "Judge", lambda *_: (_ for _ in ()).throw(predict.WeightsError("no weights")))
    status, _ = command(tmp_path / "a.mp4")
    assert status == 2 and (out / "clips.csv").read_bytes() == before


def test_a_detector_that_fails_on_one_clip_stops_nothing(core_path, command, tmp_path, monkeypatch):
    def fails_on_b(path, detector, cfg):
        if path.name == "b.mp4":
            raise RuntimeError("CUDA out of memory")
        return thrust(1)

    monkeypatch.setattr(predict, "track_clip", fails_on_b)
    for name in "abc":
        (tmp_path / f"{name}.mp4").touch()
    status, out = command(*(tmp_path / f"{name}.mp4" for name in "abc"))
    rows = table(out / "clips.csv")
    assert status not in (0, None) and [row["clip"] for row in rows] == ["a.mp4", "b.mp4", "c.mp4"]
    assert [row["status"] == "ok" for row in rows] == [True, False, True] and "memory" in rows[1]["reason"]


def test_a_run_that_is_stopped_keeps_what_it_has(command, tmp_path, monkeypatch):
    def stopped_at_b(path, detector, cfg):
        if path.name == "b.mp4":
            raise KeyboardInterrupt
        return thrust(1)

    monkeypatch.setattr(predict, "track_clip", stopped_at_b)
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
    status, _ = command(tmp_path / "a.mp4", tmp_path / "b.mp4", "--quiet")
    assert status == 130
    assert [row["clip"] for row in table(tmp_path / "results" / "clips.csv")] == ["a.mp4"]
    assert not list((tmp_path / "results").rglob("*.part"))


def test_poses_are_kept_on_request(command, tmp_path):
    _, out = command(movie(tmp_path / "a.mp4"), "--save-poses", "--quiet")
    saved = predict.Track.load(out / "poses" / "a.mp4.npz")
    assert np.array_equal(saved.keypoints, thrust(2).keypoints, equal_nan=True)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["nothing_here"], "nothing_here"),
        (["clip.mp4", "--core", "no/core.pt"], "no/core.pt"),
        (["clip.mp4", "--weights", "my weights (1)=x"], "my weights (1)=x"),
        (["clip.mp4", "--fps", "0"], "fps"),
        (["clip.mp4", "--fps", "-5"], "fps"),
        (["clip.mp4", "--fps", "nan"], "fps"),
        (["clip.mp4", "--time-limit", "0"], "time-limit"),
        (["clip.mp4", "--engine", "ray"], "--workers 0"),
        (["*.nothing"], "*.nothing"),
        (["no_column.csv"], "no column clip or path"),
        (["no_such.csv"], "no_such.csv"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(core_path, tmp_path, monkeypatch, capsys, arguments, names):
    movie(tmp_path / "clip.mp4")
    (tmp_path / "nothing_here").mkdir()
    (tmp_path / "no_column.csv").write_text("file\nclip.mp4\n")
    monkeypatch.chdir(tmp_path)
    core = [] if "--core" in arguments else ["--core", str(core_path)]
    monkeypatch.setattr(
        sys,
        "argv",
        ["predict", *arguments, *core, "--quiet", "--device", "cpu", "--out", str(tmp_path / "out"), "--workers", "0"],
    )
    if "--weights" not in arguments:
        monkeypatch.setattr(predict, "make_detector", lambda cfg: seen_by(thrust(1)))
    with pytest.raises(SystemExit) as stop:
        predict.main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and names in error
    assert len([line for line in error.splitlines() if "error" in line]) == 1 and "Traceback" not in error


def test_ray_that_is_not_installed_is_one_line_and_exit_2(core_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predict, "find_spec", lambda name: None)
    arguments = [movie(tmp_path / "a.mp4"), "--engine", "ray", "--core", core_path, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        predict.main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "make setup" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_fails_by_name(core_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["predict", "a.mp4", "--core", str(core_path), "--device", "cuda", "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as stop:
        predict.main()
    assert stop.value.code == 2 and "cuda" in capsys.readouterr().err


def test_predict_needs_neither_trainer_nor_tracker():
    known = (
        "src hydra omegaconf antlr4 yaml packaging rich markdown_it mdurl pygments av decord cv2 pyarrow PIL".split()
    )
    done = torch_alone("import src.predict; print('ok')", also=known)
    assert done.stdout == "ok\n", done.stderr[-600:]


def test_a_core_of_another_format_is_refused_by_name(core_path, tmp_path):
    extra = {"metadata.json": ""}
    core = torch.jit.load(str(core_path), _extra_files=extra)
    old = json.loads(extra["metadata.json"]) | {"format": 1}
    torch.jit.save(core, str(tmp_path / "old.pt"), _extra_files={"metadata.json": json.dumps(old)})
    with pytest.raises(ModelError, match="old.pt.*format 1"):
        Scorer(tmp_path / "old.pt", CPU)
