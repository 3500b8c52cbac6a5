import csv
import shutil

import numpy as np
import pytest
from matplotlib.image import imread

from src.motion.camera import sample_camera
from src.motion.faults import FAULT_KEYS
from src.motion.kinematics import sample_performance
from src.motion.person import sample_person
from src.simulate import label_rows, truth_rows
from src.video.clips import read
from src.video.contact_sheet import Rep, chosen, frame_at
from src.video.datasheet import write
from src.video.probe import probe
from src.video.render import render_clip, sample_look

PAGES = ("datasheet.md", "frames.jpg", "histograms.png")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Three people, two clips each, one rep per clip, in low resolution."""
    folder, labels, truth = tmp_path_factory.mktemp("set"), [], []
    for subject in ("ren-test-0001", "ren-test-0002", "ren-test-0003"):
        for i, view in enumerate(("side", "oblique")):
            rng, clip = np.random.default_rng((7, int(subject[-1]), i)), f"{subject}-0{i}.mp4"
            perf = sample_performance(sample_person(rng), 1, 5.0, rng)
            camera = sample_camera(perf.joints[:, :21], 5.0, (160, 96), view, rng)
            render_clip(perf, camera, sample_look(rng), folder / clip, 30)
            labels += label_rows(perf, camera, clip, subject)
            truth += truth_rows(perf, camera, clip, subject)
    rewrite(folder / "labels.csv", labels)
    rewrite(folder / "truth.csv", truth)
    return folder


@pytest.fixture
def folder(rendered, tmp_path):
    return shutil.copytree(rendered, tmp_path / "clips")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def cells(text, name):
    """The cells of the row of a Markdown table that starts with a name."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_datasheet_counts_what_is_there(folder):
    rows = table(folder / "labels.csv")
    rows[0] |= dict(zip(FAULT_KEYS, ["1", "", "0", "0"], strict=True))
    rewrite(folder / "labels.csv", rows)
    write(folder)
    text = (folder / "datasheet.md").read_text()
    minutes = sum(probe(path).duration_s for path in folder.glob("*.mp4")) / 60
    assert f"6 clips of hip thrusts, {minutes:.1f} minutes, 3 people, 6 labelled reps." in text
    for key in FAULT_KEYS:
        counts = [sum(row[key] == value for row in rows) for value in ("1", "0", "")]
        assert cells(text, f"`{key}`")[1:] == list(map(str, counts))
    for view in {row["view"] for row in rows}:
        assert cells(text, view)[2] == str(sum(row["view"] == view for row in rows))
    for load in {row["load"] for row in table(folder / "truth.csv")}:
        assert cells(text, load)[1] == str(len({r["clip"] for r in table(folder / "truth.csv") if r["load"] == load}))
    assert cells(text, "ren-test-0001")[:2] == ["2", "2"]
    clean = sum(all(row[key] == "0" for key in FAULT_KEYS) for row in rows if row["subject"] == "ren-test-0001")
    assert cells(text, "ren-test-0001")[2] == str(clean)
    assert "Frame rate 5.0 Hz." in text and "No split" in text and "Nobody was filmed" in text
    for heading in ("Motivation", "Composition", "Collection", "Uses", "Distribution"):
        assert f"\n## {heading}" in text
    assert str(folder) not in text and "None" not in text


def test_the_pictures_show_the_clips(folder):
    write(folder)
    views = {row["view"] for row in table(folder / "labels.csv")}
    sheet = imread(folder / "frames.jpg")
    assert sheet.shape[1] > 1500 and sheet.shape[0] > 200 * len(views)
    assert imread(folder / "histograms.png").shape[0] > 400
    assert np.unique(sheet.reshape(-1, 3) // 16, axis=0).shape[0] > 40  # photographs, not only text on white


def test_the_same_data_give_the_same_bytes(folder):
    write(folder)
    first = [(folder / page).read_bytes() for page in PAGES]
    write(folder)
    assert first == [(folder / page).read_bytes() for page in PAGES]
    rewrite(folder / "labels.csv", [row | {"view": "rear"} for row in table(folder / "labels.csv")])
    write(folder)
    assert all(old != (folder / page).read_bytes() for old, page in zip(first, PAGES, strict=True))


def test_own_footage_needs_no_truth_and_may_have_splits_and_whole_clips(folder):
    (folder / "truth.csv").unlink()
    rows = [row | {"split": "test", "source": "gym"} for row in table(folder / "labels.csv")]
    rows[0] |= {"start_s": "", "end_s": "", "view": "", "split": "", "subject": "a|b"}
    rewrite(folder / "labels.csv", rows)
    write(folder)
    text = (folder / "datasheet.md").read_text()
    assert "5 labelled reps, 1 clips labelled as a whole" in text and cells(text, "test")[1:3] == ["5", "5"]
    assert cells(text, "by a hash of the name")[:3] == ["1", "1", "1"]
    assert "\n| a\\|b | 1 | 1 |" in text and "Nobody was filmed" not in text and "recognisable people" in text
    assert "| load |" not in text and "severity" not in text
    assert cells(text, "gym") == ["truth", "6"] and (folder / "histograms.png").stat().st_size > 5000


def test_an_empty_table_is_an_error(folder):
    (folder / "labels.csv").write_text("clip\n")
    with pytest.raises(ValueError, match="labels.csv: no rows"):
        write(folder)


def rep(clip, subject="ann", severity=0.0, **faults):
    label = dict.fromkeys(FAULT_KEYS, "0") | {"clip": clip, "subject": subject, "start_s": "1", "end_s": "3"} | faults
    return Rep(label, {"severity_tuck": str(severity), "top_s": "1.7"})


def test_the_chosen_rep_shows_the_fault_alone_and_strongly():
    reps = [
        rep("a", tuck="1", severity=0.5), rep("b", tuck="1", severity=0.9), rep("c", tuck="1", overarch="1", severity=2),
        rep("d", "bob", tuck="1", severity=0.1), rep("e"), rep("f", tuck=""),
    ]  # fmt: skip
    assert chosen(reps, "tuck", set()).clip == "b"
    assert chosen(reps, "tuck", {"ann"}).clip == "d"
    assert chosen(reps, "", set()).clip == "e"
    assert chosen(reps, "partial_range", set()) is None
    assert reps[0].lockout_s(None) == 1.7 and Rep(reps[0].label).lockout_s(None) == 2.0


@pytest.mark.parametrize("moment_s", [0.0, 1.0, 3.81, 99.0])
def test_a_frame_is_that_of_its_moment(rendered, moment_s):
    clip = probe(next(iter(sorted(rendered.glob("*.mp4")))))
    pictures, seconds = (np.concatenate(parts) for parts in zip(*read(clip.path), strict=True))
    at = next((i for i, second in enumerate(seconds) if second >= moment_s), len(seconds) - 1)
    assert np.array_equal(frame_at(clip, moment_s), pictures[at])
