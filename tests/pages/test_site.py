"""The guide: built without a warning, whole, and quiet on the network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytest_plugins = ["browser"]

PAGES = ("index", "predict", "outputs", "data", "training", "shipping", "limits", "card", "stress", "performance")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The guide as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("guide") / "site"
    (command,) = re.findall(r"mkdocs (build .*)", (ROOT / "Makefile").read_text())
    mkdocs = [Path(sys.executable).with_name("mkdocs"), *command.split(), "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(mkdocs, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_nothing_is_left_over(site):
    assert {page.stem for page in site.glob("*.html")} == {*PAGES, "404"}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} == set(PAGES)
    for page in PAGES:
        html = (site / f"{page}.html").read_text()
        article = re.search(r"<article.*</article>", html, re.S).group()
        prose = re.sub(r"<(pre|code)\b.*?</\1>", "", article, flags=re.S)
        assert "--8" not in article and not re.findall(r"\[[\w ]+\]", prose), page  # parts and links that lead nowhere


def test_parts_of_the_readme_stand_in_it(site):
    for page, words in {"index": "more/**/*.mov", "training": "src/imitate.py", "shipping": "torch.jit.load"}.items():
        assert words in re.sub(r"<[^>]+>|&#39;", "", (site / f"{page}.html").read_text()).replace("&quot;", '"'), page
    limits = re.sub(r"<[^>]+>", "", (site / "limits.html").read_text())
    rows = re.findall(r"^\| `\w+` \| .*", (ROOT / "data/reports/results.md").read_text(), re.M)
    assert len(rows) >= 4
    for row in rows:
        cells = [cell.strip().strip("`*") for cell in row.strip("| ").split(" | ")]
        assert re.search(r"\s+".join(map(re.escape, cells)), limits), row


def test_no_page_names_a_file_of_another_machine(site):
    for page in site.glob("*.html"):
        html = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source|video)[^>]*src=\"?([^\"\s>]+)", html)
        loaded += re.findall(r"<link[^>]*href=\"?([^\"\s>]+)", html)
        assert loaded and not [address for address in loaded if re.match(r"\w+:|//", address)], page.name
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text()), sheet.name


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_pages_open_from_a_folder_without_a_network(site, browser, width, dark):
    for page in PAGES:
        browser.open(site / f"{page}.html", width, 800, dark)
        assert browser.complaints() == []
        assert all(address.startswith(("file:", "data:")) for address in browser.requests())
        assert browser.js("document.documentElement.scrollWidth <= innerWidth"), page
        assert browser.js("document.querySelectorAll('.md-nav--primary a.md-nav__link[href]').length") >= len(PAGES)
    background = browser.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(background) < 60) == dark
