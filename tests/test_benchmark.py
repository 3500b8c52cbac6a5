import json
import multiprocessing
import sys

import av
import numpy as np
import pytest
import torch
from conftest import ROOT, torch_alone

from src.benchmark import PARTS, main, parser, work
from src.motion.keypoints import HIP_THRUST
from src.motion.reps import find_reps
from src.speed import peers
from src.speed.cores import sequences, set_of_reps
from src.speed.networks import GraphNetwork, Recurrent, adjacency
from src.speed.peers import parameters, ratio, turns
from src.speed.road import clip_facts, drawn_clip
from src.speed.summary import BEGIN, END, short_tables
from src.speed.tables import markdown
from src.speed.timing import clock, forget_peak, peak_mb, resident_mb, summary
from src.speed.turns import compared

CPU = torch.device("cpu")
WEIGHTS = ROOT / "data/weights"
CPU_ENGINES = [("openvino", "fp32"), ("openvino", "bf16"), ("torch", "fp32")]
needs_weights = pytest.mark.skipif(
    not (WEIGHTS / "pose_detection.tflite").is_file(), reason="no pose networks in data/weights: run make setup"
)
QUICK = [
    "--threads",
    "1",
    "--processes",
    "1",
    "--seconds",
    "0",
    "--core-batches",
    "1,3",
    "--pose-batches",
    "1,2",
    "--rounds",
    "2",
]
QUICK += ["--weights", str(WEIGHTS)]

FAKE_MEDIAPIPE = """
from types import SimpleNamespace

__version__ = "0.0-fake"

class Pose:
    def __init__(self, static_image_mode, model_complexity, enable_segmentation): ...
    def __enter__(self): return self
    def __exit__(self, *error): ...
    def process(self, frame): return SimpleNamespace(pose_landmarks=object())

solutions = SimpleNamespace(pose=SimpleNamespace(Pose=Pose))
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for t in range(12):
            picture = np.full((128, 192, 3), 90, np.uint8)
            picture[40:80, 5 * t : 5 * t + 40] = 200
            box.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        box.mux(stream.encode())
    return path


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    monkeypatch.setattr(peers, "THROUGHPUT", (3, 20))


def run(out, *words):
    return work(parser().parse_args([*QUICK, "--out", str(out), *map(str, words)]))


def rows_of(report, part, device="cpu"):
    return [row for row in report["rows"] if (row["part"], row["device"]) == (part, device)]


def test_median_and_p95_of_known_numbers():
    timing = summary([float(n) for n in range(100, 0, -1)])
    assert (timing.median_s, timing.calls) == (50.5, 100)
    assert timing.p95_s == pytest.approx(95.05)
    assert summary([2.0]).p95_s == 2.0


def test_clock_calls_at_least_three_times_and_until_the_budget_is_used():
    assert len(clock(lambda: None, 0.0, CPU)) == 3
    seconds = clock(lambda: None, 0.05, CPU)
    assert len(seconds) > 3 and 0 < sum(seconds) <= 0.06


def test_every_part_on_every_device_has_numbers_or_a_reason(clip, tmp_path):
    out = tmp_path / "new" / "benchmark.json"
    page = tmp_path / "README.md"
    page.write_text(f"# before\n{BEGIN}\nold\n{END}\nafter\n")
    report = run(out, "--clip", clip, "--core", tmp_path / "none.pt", "--readme", page)
    assert page.read_text() == f"# before\n{BEGIN}\n{short_tables(report)}{END}\nafter\n"
    assert json.loads(out.read_text()) == json.loads(json.dumps(report)) and report["complete"]
    assert {(row["part"], row["device"]) for row in report["rows"]} == {(p, d) for p in PARTS for d in ("cpu", "cuda")}
    for row in report["rows"]:
        if "not measured" in row:
            assert row["not measured"] and "failed" not in row
        elif "ratio" not in row:
            assert 0 < row["median_ms"] <= row["p95_ms"] and row["per_s"] > 0 and row["calls"] >= 2
    assert all("not measured" not in row for part in ("decode", "reps", "core") for row in rows_of(report, part))
    assert [(row["threads"], row["batch"]) for row in rows_of(report, "core")][0] == (1, 1)
    assert "untrained" in rows_of(report, "core")[0]["core"]
    assert rows_of(report, "official")[0]["not measured"] == "not asked for"
    if not torch.cuda.is_available():
        assert {row["not measured"] for row in rows_of(report, "core", "cuda")} == {"PyTorch sees no CUDA GPU here"}
    names = ["benchmark.json", "benchmark.md", "benchmark_batches.png", "benchmark_share.png"]
    assert sorted(path.name for path in out.parent.iterdir()) == names
    assert out.with_suffix(".md").read_text() == markdown(report)


@needs_weights
def test_whole_road_says_where_its_time_goes(clip, tmp_path):
    rows = rows_of(run(tmp_path / "b.json", "--parts", "whole", "--clip", clip, "--device", "cpu"), "whole")
    assert [(r["engine"], r["precision"]) for r in rows] == CPU_ENGINES
    for row in rows:
        assert row["frames"] == 12 and row["reps"] == 0 and sum(row["share"].values()) == pytest.approx(1)


@needs_weights
def test_several_clips_at_once_are_timed_in_processes_that_end(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("src.speed.poses.PRECISIONS", {("openvino", "cpu"): {"fp32": "f32"}})
    words = ("--parts", "whole", "--clip", clip, "--device", "cpu", "--processes", "2")
    alone, together = rows_of(run(tmp_path / "b.json", *words), "whole")
    assert together["processes"] == 2 and together["threads"] == 1 and together["peak_mb"] is None
    assert alone["frames"] == 12 and together["per_s"] == pytest.approx(2 * 12e3 / together["median_ms"])
    assert not multiprocessing.active_children()


@needs_weights
def test_profile_shows_every_part_of_the_road(tmp_path, monkeypatch, capsys):
    out, film = tmp_path / "new" / "trace.json", drawn_clip(tmp_path / "film.mp4", (320, 180), 8.0)
    words = ["--profile", out, "--clip", film, "--device", "cpu", "--threads", "1", "--weights", WEIGHTS]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, words)])
    main()
    spans = {
        event["name"] for event in json.loads(out.read_text())["traceEvents"] if event.get("cat") == "user_annotation"
    }
    assert {"decode", "pose", "reps"} <= spans and capsys.readouterr().out == f"{out}\n"


def test_no_trace_of_no_film(tmp_path, monkeypatch):
    words = ["--profile", tmp_path / "t.json", "--clip", tmp_path / "none.mp4", "--weights", WEIGHTS]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, words)])
    with pytest.raises(SystemExit, match="^no trace: .+") as stop:
        main()
    assert stop.value.code != 0 and list(tmp_path.iterdir()) == []


@needs_weights
def test_pose_is_timed_on_every_engine(tmp_path):
    rows = rows_of(run(tmp_path / "b.json", "--parts", "pose", "--device", "cpu", "--pose-batches", "2"), "pose")
    assert list(dict.fromkeys((r["engine"], r["precision"]) for r in rows)) == CPU_ENGINES
    assert all(row["per_s"] > 0 and row["crop"] == "opencv" and row["threads"] == 1 for row in rows)


def test_one_broken_part_costs_no_other(clip, tmp_path):
    bad = tmp_path / "core.pt"
    bad.write_bytes(b"no core")
    words = ("--core", bad, "--weights", tmp_path, "--parts", "core,reps,pose", "--device", "cpu")
    report = run(tmp_path / "b.json", *words)
    (core,), (pose,), (reps,) = (rows_of(report, part) for part in ("core", "pose", "reps"))
    assert core["failed"] and "not measured" in core
    assert "make setup" in pose["not measured"] and "failed" not in pose
    assert reps["reps"] == 10 and reps["per_s"] > 0


@needs_weights
def test_official_runtime_in_turns_with_ours(clip, tmp_path, monkeypatch):
    (tmp_path / "mediapipe.py").write_text(FAKE_MEDIAPIPE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ("--parts", "official", "--mediapipe-python", sys.executable, "--clip", clip, "--rounds", "2")
    rows = rows_of(run(tmp_path / "b.json", *words, "--compare-frames", "9"), "official")
    assert [row["step"] for row in rows[:2]] == ["official static", "ours static"] and len(rows) == 12
    assert all(row["frames"] == 9 and row["calls"] == 2 for row in rows if "median_ms" in row)
    assert rows[0]["found"] == 9 and rows[1]["found"] == 0


def test_ratio_is_the_median_over_turns():
    runs = [((4.0, 6.0, 10), (2.0, 2.0, 9)), ((8.0, 6.0, 10), (2.0, 2.0, 9)), ((2.0, 6.0, 10), (2.0, 3.0, 9))]
    official, ours, wall, cpu = compared("static", runs, 10, {})
    assert official["median_ms"] == pytest.approx(400) and ours["per_s"] == pytest.approx(5)
    assert (wall["ratio"], wall["range"], cpu["ratio"]) == (2.0, [1.0, 4.0], 3.0)


def test_torch_and_numpy_alone_measure_core_reps_and_pose(tmp_path):
    out = tmp_path / "b.json"
    words = [*QUICK, "--pose-batches", "1", "--threads", "2", "--out", str(out)]
    done = torch_alone("from src.benchmark import main; main()", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert all(row["per_s"] > 0 for row in rows_of(report, "core") + rows_of(report, "reps"))
    if (WEIGHTS / "pose_detection.tflite").is_file():
        rows = rows_of(report, "pose")
        assert {row["crop"] for row in rows if row["engine"] == "torch"} == {"torch"}
        assert all("cannot be imported" in row["not measured"] for row in rows if row["engine"] == "openvino")
    for part in ("decode", "whole"):
        assert rows_of(report, part)[0]["not measured"].startswith("blocked: ")
    assert "| core |" in done.stdout  # the table without rich


def test_peers_take_turns_with_the_core_on_the_same_input(tmp_path):
    rows = rows_of(run(tmp_path / "b.json", "--parts", "peers", "--device", "cpu"), "peers")
    names = ["core", "GRU", "ST-GCN++", "MiniROCKET"]
    shapes = [(3, 20), (1, 64)]
    assert [row["step"] for row in rows] == 2 * [*names, *(f"core faster than {name}" for name in names[1:])]
    assert [(r["batch"], r["frames"]) for r in rows] == [shape for shape in shapes for _ in range(7)]
    for row in rows:
        assert row["calls"] == 2
        assert row["ratio"] > 0 if "ratio" in row else row["per_s"] > 0 and row["parameters"] > 1000
    assert rows[9]["threads"] == 1 and rows[9]["grown_mb"] >= 0


def test_without_aeon_one_row_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "src.report.baselines", None)
    rows = rows_of(run(tmp_path / "b.json", "--parts", "peers", "--device", "cpu"), "peers")
    missing = [row for row in rows if "not measured" in row]
    assert [row["step"] for row in missing] == 2 * ["MiniROCKET"] and "failed" not in missing[0] and len(rows) == 12


def test_peers_have_the_published_size_and_look_at_all_of_a_sequence():
    torch.manual_seed(0)
    graph, gru = (make(HIP_THRUST, 4).eval() for make in (GraphNetwork, Recurrent))
    assert 1.3e6 < parameters(graph) < 1.5e6
    assert parameters(gru) == 3 * 128 * (96 + 3 * 128 + 4) + 4 * 129
    assert [block.time.norm.num_features for block in graph.blocks] == 4 * [64] + 3 * [128] + 3 * [256]
    keypoints = sequences(2, 30, 0, CPU)[0]
    assert graph.blocks(torch.zeros(1, 3, 30, 32)).shape == (1, 256, 8, 32)
    for network in (graph, gru):
        with torch.no_grad():
            before = network(keypoints)
            after = network(keypoints.index_fill(1, torch.tensor([0]), 900.0))
        assert before.shape == (2, 4) and before.isfinite().all() and not before.equal(after)


def test_each_point_is_its_own_neighbour_and_bones_go_both_ways():
    itself, inward, outward = adjacency(HIP_THRUST)
    assert itself.equal(torch.eye(32)) and (inward > 0).equal((outward > 0).T)
    assert int((inward > 0).sum()) == len(HIP_THRUST.bones) and set(inward.sum(dim=0).round(decimals=5).tolist()) <= {
        0.0,
        1.0,
    }


def test_ratio_is_of_the_same_turn():
    row = ratio([4.0, 30.0, 5.0], [1.0, 10.0, 1.0])
    assert row["ratio"] == 4.0 and 3.0 < row["range"][0] < row["range"][1] < 5.0
    order = []
    seconds = turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.0, 3, CPU)
    assert order == ["a", "b"] * 3 and [len(s) for s in seconds.values()] == [3, 3]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forgets a peak")
def test_a_peak_is_of_one_measurement():
    forget_peak(CPU)
    base = resident_mb(CPU)
    torch.ones(50_000_000)  # 200 MB, gone at once
    assert 180 < peak_mb(CPU) - base < 260
    forget_peak(CPU)
    assert peak_mb(CPU) - base < 100


def test_drawn_clip_can_be_read(tmp_path):
    facts = clip_facts(drawn_clip(tmp_path / "drawn.mp4", (192, 108), 4.0))
    assert facts["size_px"] == (192, 108) and facts["frames"] > 8


def test_inputs_are_not_zeros_and_hold_reps():
    keypoints, fps_hz, frames = sequences(2, 64, 0, CPU)
    assert keypoints.shape == (2, 64, 32, 3) and fps_hz.tolist() == [30, 30] and frames.tolist() == [64, 64]
    assert 0.05 < keypoints.isnan().float().mean() < 0.15 and not keypoints[0].equal(keypoints[1])
    assert len(find_reps(set_of_reps())) == 10


PEER = {"part": "peers", "device": "cpu", "precision": "fp32", "threads": 1, "parameters": 1000, "grown_mb": 7.4}
LOST = {"part": "core", "device": "cuda", "not measured": "PyTorch sees no CUDA GPU here"}


def test_readme_tables_say_what_was_measured_and_what_was_not():
    head = {"cpu": "a CPU", "cores": 2, "gpu": None, "torch": "2", "load_1min": 1.5}
    times = {"median_ms": 1.234, "p95_ms": 2.0, "per_s": 800.0}
    rows = [PEER | times | {"step": name, "batch": batch} for name in ("core", "GRU") for batch in (16, 1)]
    rows += [
        PEER | {"step": "core faster than GRU", "batch": b, "ratio": r, "unit": "times"}
        for b, r in ((16, 12.5), (1, 0.9))
    ]
    rows += [LOST, PEER | times | {"part": "core", "step": "core", "batch": 4, "per_s": 900.0, "unit": "sequences"}]
    rows.append(rows[-1] | {"precision": "bf16", "per_s": 2000.0})  # faster, but no core was trained on it
    text = short_tables({"machine": head, "rows": rows})
    assert "| GRU | CPU fp32 | 1,000 | 800 | 12.5 times | 1.23 (2.00) | 0.9 times | 7 |" in text
    assert "| core | CPU fp32 | 1,000 | 800 |  | 1.23 (2.00) |  | 7 |" in text
    assert "| ST-GCN++ | CUDA GPU | not measured |" in text and "| MiniROCKET | CPU fp32 | not measured |" in text
    assert "| core | CPU | fp32, batch 4, 1 thread | 900 sequences |" in text and "bf16" not in text
    assert "| core | CUDA GPU |  | not measured: PyTorch sees no CUDA GPU here |" in text


def test_the_committed_tables_are_of_the_committed_report():
    report = json.loads((ROOT / "data/reports/benchmark.json").read_text())
    assert short_tables(report) in (ROOT / "README.md").read_text() and report["complete"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--readme", "LICENSE"], "where the tables belong"),
        (["--parts", "core,poze"], "no part poze"),
        (["--core-batches", "4,0"], "--core-batches: 0 is too few"),
        (["--processes", "0"], "--processes: 0 is too few"),
        pytest.param(
            ["--device", "cuda"],
            "no CUDA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU"),
        ),
    ],
)
def test_wrong_usage_is_status_2_and_one_clear_line(words, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and says in capsys.readouterr().err
