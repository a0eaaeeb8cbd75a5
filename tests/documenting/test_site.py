"""The site that `make docs` builds: warnings are errors, links lead somewhere, and no page asks the network."""

from __future__ import annotations

import re
import shutil
import time
from functools import cache
from pathlib import Path, PurePosixPath

import griffe
import pytest
from markdown_it import MarkdownIt

from docs.site.build import SITE, SOURCE, build
from docs.site.pages import pages
from tests.documenting.blocks import read
from tests.documenting.built import Page
from tests.querying.browser import CHROMIUM, Browser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(place for place in pages(ROOT) if place.suffix == ".md")

pytestmark = pytest.mark.xdist_group("site")


def checkout(folder: Path) -> Path:
    """A checkout of its own, whose files are those of this one."""
    shutil.copy(ROOT / "mkdocs.yml", folder)  # the generator works where this file really is
    for path in ROOT.iterdir():
        if path.name not in {"build", ".cache", ".git", "mkdocs.yml"}:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = checkout(tmp_path_factory.mktemp("site"))
    assert build(folder) == 0, "make docs says what is wrong"
    return folder


def html(place: PurePosixPath) -> PurePosixPath:
    """Where a page stands in the site."""
    return place.with_name("index.html") if place.stem == "README" else place.with_suffix(".html")


@pytest.fixture(scope="module")
def parsed(built):
    @cache
    def page(path: Path) -> Page:
        return Page(path.read_text(encoding="utf-8"))

    return page


def test_every_page_is_built(built):
    assert {path.relative_to(built / SITE).as_posix() for path in (built / SITE).rglob("*.html")} == {
        "404.html",
        *(html(place).as_posix() for place in PAGES),
    }


def test_every_page_of_docs_is_in_the_navigation():
    """A page that nobody can find is not there. Those that stand elsewhere in the repository are linked to."""
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]))
    assert listed == {place.as_posix() for place in PAGES if place.parts[0] != "repository"}


@pytest.mark.parametrize("place", PAGES, ids=str)
def test_a_page_loads_nothing_from_the_network(place, built, parsed):
    """Who reads about an audit need not tell others so, and a desk without a network shows the same page."""
    loads = parsed(built / SITE / html(place)).loads
    assert loads
    assert [url for url in loads if re.match(r"\w+:|//", url)] == []
    assert [url for url in loads if not (built / SITE / html(place)).parent.joinpath(url.split("?")[0]).exists()] == []


def test_no_style_loads_anything_from_the_network(built):
    styles = list((built / SITE).rglob("*.css"))
    assert styles
    for path in styles:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)]*", text) == [], path.name


@pytest.mark.parametrize("place", PAGES, ids=str)
def test_links_lead_to_a_page_and_a_place_in_it(place, built, parsed):
    """Also those which the theme makes, and those into what is generated."""
    page = built / SITE / html(place)
    for link in parsed(page).links:
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in parsed(target).ids, link


def test_what_the_python_reference_shows_is_explained(built, parsed):
    """A signature says neither units nor errors. Fields of data are explained by their class."""
    query = griffe.GriffeLoader(search_paths=[ROOT]).load("query")
    shown = [name for name in parsed(built / SITE / "python.html").ids if name.startswith("query.")]
    objects = [query[name.removeprefix("query.")] for name in shown]
    explained = [found for found in objects if not found.is_attribute or "property" in found.labels]
    assert {"query.table.Table.as_of", "query.table.Table.log", "query.item.Item.history"} <= set(shown)
    assert [found.path for found in explained if found.docstring is None] == []


@pytest.mark.parametrize("place", [one for one in PAGES if one.name != "python.md"], ids=str)
def test_a_page_is_made_of_what_github_makes_of_it(place, built, parsed):
    """The two read Markdown differently: a list under four spaces, a block that is none, are seen here."""
    source = (built / SOURCE / place).read_text(encoding="utf-8")
    shown = Page(MarkdownIt("commonmark").enable("table").render(source), fragment=True)
    assert parsed(built / SITE / html(place)).elements == shown.elements


@pytest.mark.parametrize(
    "wrong",
    ["[a](answers.md#nowhere)", "[a](#nowhere)", "[a][nothing.of_this]", "::: query.archive.Nothing"],
)
def test_what_leads_nowhere_stops_the_build(wrong, tmp_path, capfd):
    folder = tmp_path / "checkout"
    (folder / "docs").mkdir(parents=True)
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "query").symlink_to(ROOT / "query")
    index = folder / "docs" / "index.md"
    (folder / "docs" / "answers.md").write_text("# Answers\n")
    index.write_text("# Front\n\n[a](answers.md#answers)\n")
    assert build(folder) == 0, "what is right is built"
    index.write_text(f"# Front\n\n{wrong}\n")
    assert build(folder) != 0


def test_a_link_to_a_file_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[a](../query/gone.toml)\n")
    with pytest.raises(FileNotFoundError, match=r"docs/index\.md links to \.\./query/gone\.toml"):
        pages(tmp_path)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    opened = Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


SHOWN = ["index.html", "python.html", "cli.html", "format.html"]
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.mark.parametrize("page", SHOWN)
def test_a_page_fits_a_narrow_screen_and_asks_for_files_alone(page, built, browser):
    """Opened from the folder, at 320 px as on a phone: nothing is cut off, nothing is fetched."""
    browser.requests.clear()
    browser.open((built / SITE / page).as_uri(), width=320)
    assert browser.value(WIDE) is False
    assert browser.requests
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_dark_screen_gets_a_dark_page(built, browser):
    """The brightness of what lies behind the text, of 255."""
    behind = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    page = (built / SITE / "index.html").as_uri()
    browser.open(page, dark=True)
    dark = browser.value(behind)
    browser.open(page)
    assert max(dark) < 60
    assert min(browser.value(behind)) > 200


# What the button copies of the first block: the theme marks the block, takes its text, and takes the mark away.
COPIED = """
(() => {
  const block = document.querySelector('.highlight code')
  block.setAttribute('data-md-copying', '')
  return block.innerText
})()
"""


def test_what_is_copied_of_a_terminal_can_be_typed(built, browser):
    """Somebody pastes it at three in the morning."""
    browser.open((built / SITE / "index.html").as_uri())
    steps = read(ROOT / "docs" / "index.md")[0].steps
    assert browser.value(COPIED).split() == " ".join(step.command for step in steps).split()


# Whether the field of the search has the focus; how many links there are to what is looked for.
FIELD = """
(() => {
  let focused = document.activeElement
  while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement
  return focused.tagName === 'INPUT'
})()
"""
FOUND = """
(() => {
  const found = []
  const visit = root => { for (const element of root.querySelectorAll('*')) {
    if (element.shadowRoot) visit(element.shadowRoot)
    if (element.tagName === 'A') found.push(element.href) } }
  visit(document)
  return found.filter(href => /operations.html.*#quarantine$/.test(href)).length
})()
"""


def wait(told) -> None:
    for _ in range(1200):
        if told():
            return
        time.sleep(0.05)
    pytest.fail("it never happened")


def test_the_search_finds_a_section_in_pages_opened_from_a_folder(built, browser):
    """Browsers forbid such pages the worker that searches: this is what the script of our own is for."""
    browser.open((built / SITE / "index.html").as_uri())
    assert browser.value(FOUND) == 0
    browser.value("document.querySelector('.md-search__button').click()")
    wait(lambda: browser.value(FIELD))
    browser.ask("Input.insertText", text="quarantine")
    wait(lambda: browser.value(FOUND))
