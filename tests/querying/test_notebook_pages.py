"""What notebooks show: every answer as a piece of static HTML, in which a value is data whatever it looks like."""

from html.parser import HTMLParser

import pytest

import query
from archiver.segment import encode_segment
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli.sample import write_sample
from query.render.answer_pages import MOST_ROWS, page_of
from query.render.notebook import notebook_html
from tests.delivery import delivered
from tests.querying.browser import CHROMIUM, Browser

MARKUP = "<script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>\"'&amp;\u202egpj.exe"
SECRET = "4929 1234 5678 9012"
ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/things/stream/2026-07-01T00:00:00.000"
AT_S = 1_782_950_400  # 2026-07-02T00:00:00Z
ACTORS = {"things": "who"}


def change(number, op, key, old, new):
    return delivered(
        op, {"id": {"S": key}}, old, new,
        sequence_number=4 * 10**24 + number, changed_at_s=AT_S + number, arn=ARN, event_id=f"{number:031x}a",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table in which everything that a person can choose is markup, and what is redacted is in every place."""
    folder = tmp_path_factory.mktemp("nasty")
    first = {MARKUP: {"S": MARKUP}, "who": {"S": MARKUP}, "card": {"S": SECRET}, "deep": {"M": {"card": {"S": SECRET}}}}
    second = {
        **first,
        MARKUP: {"L": [{"S": MARKUP}]},
        "card": {"S": SECRET[::-1]},
        "deep": {"M": {"card": {"NULL": True}}},
    }
    records = [
        change(1, "INSERT", MARKUP, None, first),
        change(2, "MODIFY", MARKUP, first, second),
        change(3, "INSERT", SECRET, None, first),
        change(4, "REMOVE", SECRET, first, None),
        *(change(number, "INSERT", f"{number:04}", None, first) for number in range(5, 80)),
    ]
    Writer(FolderStore(folder), Streams(), encode_segment).archive(records, now_ms=AT_S * 1000)
    return folder


@pytest.fixture(params=[(), ("id", "card", "deep.card", "who")], ids=["plain", "redacted"])
def table(request, folder):
    return query.open(str(folder), actor_attribute=ACTORS, redact={"things": request.param}).table("things")


ASKED = {
    "history": lambda table: table.item(MARKUP).history(),
    "version": lambda table: table.item(MARKUP).history()[0],
    "deleted": lambda table: table.item(SECRET).history()[0],
    "item": lambda table: table.item(MARKUP).state("2026-08-01"),
    "gone": lambda table: table.item(SECRET).state("2026-08-01"),
    "diff": lambda table: table.item(MARKUP).diff(),
    "blame": lambda table: table.item(MARKUP).blame(),
    "log": lambda table: table.log(),
    "stat": lambda table: table.stat(),
    "compare": lambda table: table.compare("2026-07-02T00:00:02Z", "2026-07-03"),
    "state": lambda table: table.as_of("now"),
    "coverage": lambda table: table.coverage(),
    "reconcile": lambda table: table.reconcile(
        [{"id": {"S": MARKUP}}, {"id": {"S": SECRET}}], since="2026-08-01T00:00:00Z"
    ),
}
KINDS = [*ASKED]


class Seen(HTMLParser):
    """The tags of a page, their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.names, self.values, self.text, self._open = set(), set(), [], "", []
        self.feed(page)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.values += [value for _, value in attrs]
        if tag != "br":
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


OURS = {"div", "style", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "br", "span", "pre"}
PICTURE = {"svg", "title", "defs", "pattern", "line", "rect", "text"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_markup(table, kind):
    """Keys, names, values and actors all hold a script, an image from elsewhere and a mark that turns text around."""
    page = ASKED[kind](table)._repr_html_()
    seen = Seen(page)
    assert seen.tags <= (OURS | PICTURE if kind == "coverage" else OURS)
    assert not {name for name in seen.names if name.startswith("on") or name in {"src", "href", "style"}}
    assert "\u202e" not in page
    assert "http" not in "".join(filter(None, seen.values))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"coverage", "stat", "reconcile"}))
def test_what_is_not_redacted_is_there_as_text(folder, kind):
    """The test above would pass for an empty page."""
    table = query.open(str(folder), actor_attribute=ACTORS).table("things")
    assert "<script>alert(1)</script>" in Seen(ASKED[kind](table)._repr_html_()).text or kind in {"deleted", "gone"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_redacted_is_on_no_page(folder, kind):
    table = query.open(
        str(folder), actor_attribute=ACTORS, redact={"things": ["id", "card", "deep.card", "who"]}
    ).table("things")
    page = ASKED[kind](table)._repr_html_()
    assert SECRET not in page
    assert SECRET[::-1] not in page
    assert ("[redacted:" in page) == (kind != "coverage")


@pytest.mark.parametrize("kind", ["log", "compare", "state", "stat"])
def test_a_page_says_how_many_rows_it_left_out(table, kind):
    """79 changes, 77 items: the first rows are shown, and all are counted."""
    answer = ASKED[kind](table)
    rows = answer.arrow().num_rows
    page = answer._repr_html_()
    assert page.count("<tr>") == min(rows, MOST_ROWS) + 1
    assert (f"… {rows - MOST_ROWS} more rows" in page) == (rows > MOST_ROWS)
    assert kind == "stat" or rows > MOST_ROWS


def test_a_page_is_bounded_whatever_a_value_holds(tmp_path):
    """400 KB in one attribute, and a thousand attributes, are cut, with a count."""
    image = {"long": {"S": "x" * 400_000}} | {f"a{number:04}": {"N": "1"} for number in range(1000)}
    records = [change(1, "INSERT", "k", None, image)]
    Writer(FolderStore(tmp_path), Streams(), encode_segment).archive(records, now_ms=AT_S * 1000)
    table = query.open(str(tmp_path)).table("things")
    for answer in (table.item("k").history(), table.item("k").history()[0], table.as_of("now"), table.log()):
        page = answer._repr_html_()
        assert len(page) < 20_000
        assert "more" in page


def test_an_answer_may_be_shown_twice(table):
    """A notebook shows an answer in two cells, and a table is taken of it afterwards."""
    for kind, answer in {kind: ask(table) for kind, ask in ASKED.items()}.items():
        assert answer._repr_html_() == answer._repr_html_(), kind
        if hasattr(answer, "arrow"):
            assert answer.arrow() == answer.arrow(), kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_beside_a_page_is_masked_too(folder, kind):
    """A notebook keeps both: who shows the page keeps no secret in the text that nobody looks at."""
    table = query.open(
        str(folder), actor_attribute=ACTORS, redact={"things": ["id", "card", "deep.card", "who"]}
    ).table("things")
    answer = ASKED[kind](table)
    kept = answer._repr_mimebundle_()
    assert kept["text/html"] == answer._repr_html_()
    assert kept["text/plain"]
    assert SECRET not in str(kept)
    assert SECRET[::-1] not in str(kept)
    assert "\u202e" not in kept["text/plain"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_runs_nothing_and_asks_for_nothing(table, tmp_path, dark):
    """All pages in one, on paper of either colour: no script, no request, and text in the colour of the page around."""
    pieces = "<hr>".join(ask(table)._repr_html_() for ask in ASKED.values())
    ink, paper = ("rgb(230, 233, 236)", "rgb(20, 23, 26)") if dark else ("rgb(27, 31, 36)", "rgb(255, 255, 255)")
    page = tmp_path / "notebook.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="color:{ink};background:{paper}">{pieces}', "utf-8"
    )
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(page.as_uri(), dark=dark)
        assert browser.requests == [page.as_uri()]
        assert browser.value("document.querySelectorAll('script,img,iframe,link,[onerror]').length") == 0
        assert browser.value(
            "[...new Set([...document.querySelectorAll('td')].map(e => getComputedStyle(e).color))]"
        ) == [ink]
        assert browser.value("document.querySelectorAll('table').length") > len(KINDS) / 2
        assert browser.value("document.documentElement.scrollWidth <= innerWidth"), "wide tables scroll by themselves"
    finally:
        browser.close()


def test_gaps_are_drawn_and_told(tmp_path):
    """Hatched, and in words: nobody has to see a picture."""
    write_sample(tmp_path / "shop")
    coverage = query.open(str(tmp_path / "shop/archive")).table("orders").coverage()
    page = coverage._repr_html_()
    assert page.count('<rect class="gap"') == len(coverage.gaps) == 1
    assert "not covered: " in page
    assert "with 1 gap" in page


def test_what_cannot_be_told_stands_above_the_rows(tmp_path):
    """Before an afternoon without a stream there were orders of which nothing is known in it."""
    write_sample(tmp_path / "shop")
    archive = query.open(str(tmp_path / "shop/archive"))
    state = archive.table("orders").as_of("2026-08-18T14:00:00Z")
    assert state.unknown
    assert f"{state.unknown} items of which the trail cannot tell, left out" in state._repr_html_()
    verified = archive.verify("customers", pinned_key=tmp_path / "shop/sample.key.pub", during="2026-Q3")
    assert verified.ok
    assert "verified: every check that was asked for passed" in verified._repr_html_()
    unpinned = archive.verify("customers", during="2026-Q3")
    assert (unpinned.ok, unpinned.exit_code) == (False, 4)
    assert "NOT VERIFIED" in unpinned._repr_html_()


@pytest.mark.parametrize(
    ("key", "when", "outcome"),
    [
        (("CUST#1", "ORDER#0015"), "2026-08-01", "existed"),
        (("CUST#1", "ORDER#0015"), "2026-07-01", "not-yet-created"),
        (("CUST#2", "ORDER#0009"), "2026-08-01", "already-deleted"),
        (("CUST#5", "ORDER#0012"), "2026-08-18T14:00:00Z", "unknown"),  # it was cancelled in the gap
    ],
)
def test_each_of_the_four_answers_is_said_in_words(tmp_path, key, when, outcome):
    """A page without rows must not look like nothing: it says which of the answers it is, and why."""
    write_sample(tmp_path / "shop")
    answer = query.open(str(tmp_path / "shop/archive")).table("orders").item(*key).state(when)
    text = Seen(answer._repr_html_()).text
    assert answer.state.outcome.value == outcome
    assert f": {outcome}" in text
    assert answer.explanation in text
    assert key[1] in text


def test_a_conflict_is_named_on_the_page(tmp_path):
    """One change told in two ways: the item is left out, and the page says which."""
    writer = Writer(FolderStore(tmp_path), Streams(), encode_segment)
    for value in ("1", "2"):
        writer.archive([change(1, "INSERT", "torn", None, {"n": {"N": value}})], now_ms=AT_S * 1000)
    writer.archive([change(2, "INSERT", "whole", None, {})], now_ms=AT_S * 1000)
    table = query.open(str(tmp_path)).table("things")
    for answer in (table.log(), table.stat(), table.as_of("now"), table.compare("2026-07-02", "2026-07-03")):
        assert "evidence contradicts itself about 1 item: id=torn" in answer._repr_html_(), type(answer)


def test_rows_that_were_read_are_not_said_to_be_none(folder):
    """`batches` gives each row once; a page of "0 rows" would be an answer, and a wrong one."""
    archive = query.open(str(folder))
    answer = archive.sql("SELECT 1 AS n")
    assert [batch.num_rows for batch in answer.batches] == [1]
    assert "the rows were read already" in answer._repr_html_()
    assert "0 rows" not in answer._repr_html_() + answer._repr_mimebundle_()["text/plain"]
    whole = archive.sql("SELECT 1 AS n")
    assert whole.arrow().num_rows == 1
    assert [*whole.batches] == []
    assert "1 row<" in whole._repr_html_()
    assert "0 rows" in archive.sql("SELECT 1 AS n WHERE false")._repr_html_()


def test_only_answers_have_pages():
    with pytest.raises(TypeError):
        page_of(object())
    with pytest.raises(TypeError):
        notebook_html("text")
