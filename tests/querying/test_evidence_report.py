"""The report of a package: what it shows, that nothing in it acts, and how it looks in a real browser."""

from __future__ import annotations

import base64
import os
from html.parser import HTMLParser

import pytest

from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from query.evidence.report import cut
from tests.querying.browser import CHROMIUM, Browser
from tests.querying.test_evidence import HOUR, MARKUP, RECORDS, START, WITH_GAP, World, record

VOID = {"meta", "br", "img", "input", "link", "hr"}
HUGE = "<b>x" * 100_000


class Page(HTMLParser):
    """The elements of a page, and the text that a person reads."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " " if tag in {"td", "th", "tr"} else ""

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert World(folder).build(folder / "it", period=WITH_GAP) == 3
    return folder / "it" / "REPORT.html"


@pytest.fixture(scope="module")
def page(report):
    return Page(report.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    """No configuration of the person who runs the tests."""
    for name in [*os.environ]:
        if name.startswith("DDBTRAIL_"):
            monkeypatch.delenv(name)


def test_nothing_in_it_acts(page):
    """No script, no handler, no address; and a browser is told to load nothing."""
    assert not {tag for tag, _ in page.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "form",
        "a",
        "base",
        "b",
    }
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"href", "src", "style", "xlink:href"}
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'")


def test_hostile_values_are_shown(page):
    """As text, and what would turn a line around as its escape."""
    assert MARKUP[:-1] in page.text
    assert "\\u202e" in page.text
    assert "\u202e" not in page.text


def test_the_figures_are_those_of_the_records(page):
    """Totals, operations, the gap, and the sum of the heat map."""
    text = " ".join(page.text.split())
    assert f"changes {len(RECORDS)} " in text
    for op in ("INSERT", "MODIFY", "REMOVE"):
        assert f"{op} {sum(one['eventName'] == op for one in RECORDS)} " in text
    assert "Incomplete." in text
    (gap,) = [one for one in page.all("rect") if one.get("class") == "gap"]
    ends = [RECORDS[place]["dynamodb"]["ApproximateCreationDateTime"] - START for place in (59, 60)]
    assert float(gap["x"]) == pytest.approx(ends[0] / (12 * HOUR) * 1000, abs=0.01)
    assert float(gap["width"]) == pytest.approx((ends[1] - ends[0]) / (12 * HOUR) * 1000, abs=0.01)
    hours = {one["dynamodb"]["ApproximateCreationDateTime"] // HOUR for one in RECORDS}
    assert len([one for one in page.all("rect") if one.get("class") == "heat"]) == len(hours)


def test_everybody_can_read_it(page):
    """Language, title, one first heading, tables with captions and scopes, charts with names."""
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("table")) == len(page.all("caption"))
    assert all("scope" in one for one in page.all("th"))
    assert all(one.get("role") == "img" and ({"aria-label", "aria-labelledby"} & one.keys()) for one in page.all("svg"))
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(set(ids)) == len(ids)
    assert {one["aria-labelledby"] for _, one in page.elements if "aria-labelledby" in one} <= set(ids)


def test_what_is_long_or_many_is_cut_with_a_count(tmp_path):
    """A value of 400 KB, and more items than a page can hold."""
    writer = Writer(FolderStore(tmp_path / "archive"), Streams(key_schema={"orders": ("pk",)}))
    many = [record(number, "INSERT", f"item {number}", None, {}, at=START + number) for number in range(3_000)]
    many += [record(3_000, "MODIFY", "item 1", {"v": {"S": "x"}}, {"v": {"S": HUGE}}, at=START + 3_000)]
    writer.archive(many, now_ms=(START + HOUR) * 1000)
    target = tmp_path / "it"
    tokens = ["evidence", "build", "orders", "-a", str(tmp_path / "archive"), "-O", str(target), *WITH_GAP[:2]]
    assert run([*tokens, "--until", "2026-09-15T02:00:00Z", "--accept", "no-seals", "--accept", "key-not-pinned"]) in {
        0,
        3,
    }
    content = (target / "REPORT.html").read_text(encoding="utf-8")
    assert len(content) < 200_000
    text = Page(content).text
    assert "2 975 more are in changes.csv" in text
    assert cut(f'"{HUGE}"') in text
    assert f"{len(HUGE) + 2 - 200:,} more characters".replace(",", " ") in text


# --- in a browser ---


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    opened = Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


# The contrast of each text with what lies behind it (WCAG 2.2, 1.4.3), and the least of them.
CONTRAST = """
(() => {
  const light = text => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const behind = element => { for (let at = element; at; at = at.parentElement) {
    const found = getComputedStyle(at).backgroundColor; if (!found.endsWith(', 0)')) return found } return 'rgb(255, 255, 255)' }
  let least = 21
  for (const element of document.querySelectorAll('h1, h2, h3, p, td, th, code, caption, strong')) {
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x)
    least = Math.min(least, (a + 0.05) / (b + 0.05)) }
  return least
})()
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 1100, 380])
def test_it_fits_and_can_be_read(browser, report, width, dark):
    """On a desk and on a telephone, in the light and in the dark: no page to scroll sideways, and enough contrast."""
    browser.open(report.as_uri(), width=width, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(CONTRAST) >= 4.5
    colour = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") is not dark
    band = browser.value("document.querySelector('rect.gap').getBoundingClientRect().width")
    whole = browser.value("document.querySelector('rect.covered').getBoundingClientRect().width")
    assert 0 < band < whole <= width
    tall = browser.value(
        "[...document.querySelectorAll('main > section')].map(one => one.getBoundingClientRect().height)"
    )
    assert len(tall) == 7
    assert min(tall) > 50


def test_no_request_leaves_the_page(browser, report):
    """But for the page itself: nothing is asked for, and no script has run."""
    browser.requests.clear()
    browser.open(report.as_uri())
    assert browser.requests == [report.as_uri()]
    assert browser.value("performance.getEntriesByType('resource').length") == 0
    assert browser.value("document.scripts.length") == 0


def test_it_prints(browser, report):
    """On white paper, also from a dark screen."""
    browser.open(report.as_uri(), dark=True)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value(CONTRAST) >= 4.5
    printed = base64.b64decode(browser.ask("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF-")
    browser.ask("Emulation.setEmulatedMedia", media="")
