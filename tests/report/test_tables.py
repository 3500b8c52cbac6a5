import pytest

from src.motion.labels import LabelError
from src.report.tables import ahead, baseline, cell, claims, difference, write_readme

NAN = float("nan")


def numbers(value, lead):
    return {
        "average_precision": {"value": value},
        "model_ahead": {"value": lead, "low": lead - 0.1, "high": lead + 0.2},
    }


def test_a_number_that_was_not_measured_is_a_dash():
    assert cell({"value": NAN, "low": NAN, "high": NAN}) == "–" and baseline(None) == "–"
    assert cell({"value": 0.914, "low": 0.88, "high": 1.0}) == "0.91 (0.88-1.00)"


def test_an_interval_in_which_all_resamples_agree_is_not_shown():
    assert cell({"value": 1.0, "low": 1.0, "high": 1.0}) == "1.00"
    assert difference({"difference": -0.001, "low": 0.0, "high": 0.0}) == "+0.00"
    assert difference({"difference": -0.03, "low": -0.07, "high": 0.01}) == "-0.03 (-0.07 to +0.01)"


def test_claims_are_counted():
    assert claims({"claims": 16, "claim_precision": 0.75}) == "12 of 16"
    assert claims({"claims": 0, "claim_precision": NAN}) == "no claim"


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
