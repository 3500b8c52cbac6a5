import pytest

from src.motion.labels import LabelError
from src.report.tables import ahead, baseline, cell, write_readme

NAN = float("nan")


def numbers(value, lead):
    return {
        "average_precision": {"value": value},
        "model_ahead": {"value": lead, "low": lead - 0.1, "high": lead + 0.2},
    }


def test_a_number_that_was_not_measured_is_a_dash():
    assert cell({"value": NAN, "low": NAN, "high": NAN}) == "–" and baseline(None) == "–"
    assert cell({"value": 0.914, "low": 0.88, "high": 1.0}) == "0.91 (0.88-1.00)"


def test_a_baseline_above_the_model_is_bold_and_said_plainly():
    better, worse = numbers(0.7, -0.25), numbers(0.4, 0.05)
    assert baseline(better) == "**0.70**" and baseline(worse) == "0.40"
    line = ahead({"tuck": {"baselines": {"a": better, "b": worse}}})[0]
    assert line == "AP above the model's: a on `tuck` by 0.25 (95 %: 0.05 to 0.35)."
    assert ahead({"tuck": {"baselines": {"b": worse}}})[0].startswith("No baseline")


def test_a_readme_without_markers_is_named_and_untouched(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("nothing here")
    with pytest.raises(LabelError, match="README.md"):
        write_readme(path, "table")
    assert path.read_text() == "nothing here"
