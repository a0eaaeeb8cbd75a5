"""The report on paper: it says what the page says, nothing is fetched for it, and it comes out the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import pytest

from query.errors import QueryError
from tests.querying.test_evidence import HOUR, PERIOD, RECORDS, START, WITH_GAP, World, checked
from tests.querying.test_evidence_report import Page

try:
    import pypdfium2
    import weasyprint  # noqa: F401  looked at before Pango is asked for

    MISSING = None
except (ImportError, OSError) as error:
    MISSING = f"nothing prints here: pip install 'ddbtrail[pdf]', apt-get install libpangoft2-1.0-0 ({error})"

printing = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
EMPTY = '<html lang="en"><title>Page</title><body>'
HOUSE = Path(__file__).parents[2]
# Words are cut at other places on paper, and a hyphen at the end of a line is another character.
SPACE = str.maketrans("", "", " \r\n\t\u00a0-\x02\ufffe")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return World(tmp_path_factory.mktemp("printed"))


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests."""
    for name in [*os.environ]:
        if name.startswith(("DDBTRAIL_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def package(made, tmp_path_factory):
    """A package with a gap in it, printed."""
    folder = tmp_path_factory.mktemp("package") / "it"
    assert made.build(folder, "--pdf", period=WITH_GAP) == 3
    return folder


@pytest.fixture(scope="module")
def paper(package):
    document = pypdfium2.PdfDocument(package / "REPORT.pdf")
    yield document
    document.close()


def texts(document):
    return [page.get_textpage().get_text_bounded() for page in document]


class Cells(Page):
    """The text of each element in which a person reads one thing."""

    READ = ("td", "th", "h1", "h2", "h3", "caption")

    def __init__(self, content):
        self.cells = []
        super().__init__(content)

    def handle_data(self, data):
        super().handle_data(data)
        if read := [place for place, tag in enumerate(self.open) if tag in self.READ]:
            self.cells.append((len(self.open[: read[-1] + 1]), data))


# --- what it says ---


@printing
def test_it_says_what_the_page_says(package, paper):
    """Each word of each cell and heading, by the eyes of another program."""
    found = "".join(texts(paper)).translate(SPACE)
    wanted = [text.translate(SPACE) for _, text in Cells((package / "REPORT.html").read_text("utf-8")).cells]
    assert len(wanted) > 500
    assert [text for text in wanted if text not in found] == []


@printing
def test_it_has_a_title_and_pages_with_numbers(paper):
    """A page that was taken out of a pile shows; and a person who cannot see can go through it."""
    assert paper.get_metadata_dict()["Title"] == "Evidence: changes of 111122223333/eu-west-1/orders"
    ends = [text.rstrip().splitlines()[-1] for text in texts(paper)]
    assert ends == [f"{number} / {len(paper)}" for number in range(1, len(paper) + 1)]
    assert paper.is_tagged()


@printing
def test_its_drawings_have_their_colours(package, paper):
    """On the band of the period, what is covered is as wide as it was; and no cell of the hours is black."""
    (band,) = [pixels for pixels in map(_rows, paper) if any(row.count(GREEN) > 100 for row in pixels)]
    row = max(band, key=lambda row: row.count(GREEN))
    ends = [RECORDS[place]["dynamodb"]["ApproximateCreationDateTime"] - START for place in (59, 60)]
    gap = (ends[1] - ends[0]) / (12 * HOUR)
    left, right = row.index(GREEN), len(row) - row[::-1].index(GREEN)
    assert row.count(GREEN) / (right - left) == pytest.approx(1 - gap, abs=0.01)
    cells = [row[row.index(BLUE) :] for pixels in map(_rows, paper) for row in pixels if BLUE in row]
    shares = {_share(row) for row in cells if row.count(PALE) > 100}
    changed = {one["dynamodb"]["ApproximateCreationDateTime"] // HOUR for one in RECORDS}
    assert shares
    assert all(share == pytest.approx(len(changed) / 24, abs=0.04) for share in shares)
    assert not any(BLACK in row for row in cells)


GREEN, BLUE, WHITE, PALE, BLACK = (0x5F, 0x9E, 0x6E), (0x0B, 0x5C, 0xAD), (255,) * 3, (0xEE,) * 3, (0,) * 3


def _share(row):
    """How much of what is drawn has a colour."""
    drawn = [pixel for pixel in row if pixel != WHITE]
    return sum(pixel != PALE for pixel in drawn) / len(drawn)


def _rows(page):
    """The pixels of a page, by row."""
    image = page.render(scale=1).to_pil().convert("RGB")
    pixels = list(image.get_flattened_data())
    return [pixels[start : start + image.width] for start in range(0, len(pixels), image.width)]


# --- it is a file of the package as any other ---


@printing
def test_nothing_else_changes(made, package, tmp_path):
    """But how the package was asked for, and the list of its files."""
    assert made.build(tmp_path / "it", period=WITH_GAP) == 3
    without, with_it = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path / "it", package)
    )
    assert with_it.keys() - without.keys() == {"REPORT.pdf"}
    assert {name for name in without if without[name] != with_it[name]} == {"query.txt", "MANIFEST.sha256"}
    assert with_it["query.txt"].splitlines()[0] == without["query.txt"].splitlines()[0] + b" --pdf"


@printing
def test_altered_it_is_found(package, tmp_path, capsys):
    """Its first, its last, and some other byte; and that it is gone."""
    assert checked(package) == 0
    content = (package / "REPORT.pdf").read_bytes()
    shutil.copytree(package, tmp_path / "it")
    for place in (0, len(content) // 2, len(content) - 1):
        spoilt = bytearray(content)
        spoilt[place] ^= 1
        (tmp_path / "it" / "REPORT.pdf").write_bytes(spoilt)
        assert checked(tmp_path / "it") == 1
    (tmp_path / "it" / "REPORT.pdf").unlink()
    assert checked(tmp_path / "it") == 1
    assert "REPORT.pdf" in capsys.readouterr().out


# --- the same again ---


PRINT = """
import sys, time
now = float(sys.argv[1])
time.time = lambda: now
from query.evidence.pdf import print_page
printed = print_page(open(sys.argv[2], encoding="utf-8").read())
open(sys.argv[3], "wb").write(printed.content)
print(*sorted(f"U+{ord(one):04X}" for one in printed.boxes))
"""


@pytest.fixture(scope="module")
def one_font(tmp_path_factory):
    """A machine that has one font only: a variable one, of the characters from space to tilde."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    folder = tmp_path_factory.mktemp("fonts")
    characters = [*range(0x20, 0x7F)]
    names = [".notdef", *(f"u{one:04X}" for one in characters)]
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for point in ((50, 700), (450, 700), (450, 0)):
        pen.lineTo(point)
    pen.closePath()
    font = FontBuilder(1_000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({one: f"u{one:04X}" for one in characters})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (500, 50)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Sole", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    font.setupPost()
    font.setupFvar([("wght", 100, 400, 900, "Weight")], [])
    font.setupGvar({name: [] for name in names})
    font.save(folder / "Sole.ttf")
    config = f'<?xml version="1.0"?><fontconfig><dir>{folder}</dir><cachedir>{folder}/cache</cachedir></fontconfig>'
    (folder / "fonts.conf").write_text(config)
    return folder / "fonts.conf"


def printed(page, target, *, now, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PRINT, str(now), str(page), str(target)],
        cwd=target.parent,
        env=os.environ | {"PYTHONPATH": str(HOUSE)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return target.read_bytes(), done.stdout.split()


@printing
def test_printed_twice_it_is_the_same(package, tmp_path):
    """At another time, in another place, with another order of sets."""
    others = {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1500000000", "LC_ALL": "C.UTF-8"}
    found, boxes = printed(package / "REPORT.html", tmp_path / "other.pdf", now=2e9, **others)
    assert found == (package / "REPORT.pdf").read_bytes()
    assert boxes == []


@printing
def test_a_font_that_is_made_for_it_bears_no_time(one_font, tmp_path):
    """A variable font is made static, and fontTools writes the time into what it makes."""
    from fontTools.ttLib import TTFont

    (tmp_path / "page.html").write_text(f"{EMPTY}<p>Evidence")
    one, _ = printed(tmp_path / "page.html", tmp_path / "one.pdf", now=1e9, FONTCONFIG_FILE=str(one_font))
    two, _ = printed(tmp_path / "page.html", tmp_path / "two.pdf", now=2e9, FONTCONFIG_FILE=str(one_font))
    streams = [zlib.decompress(one) for one in re.findall(rb"stream\n(x.*?)\nendstream", one, re.DOTALL)]
    assert [TTFont(BytesIO(stream))["head"].modified for stream in streams if stream.startswith(b"\0\1\0\0")]
    assert one == two


@printing
def test_what_no_font_has_is_named(made, one_font, tmp_path):
    """A box on paper says nothing, so the package and the command say what stands there."""
    tokens = ["evidence", "build", "orders", "-a", str(made.archive), *PERIOD, "--key", "pk=A", "--pdf", "-O", "it"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from query.cli import run; raise SystemExit(run({[*tokens, '--accept', 'key-not-pinned']}))",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOUSE), "FONTCONFIG_FILE": str(one_font)},
        capture_output=True,
        text=True,
        check=True,
    )
    text = Page((tmp_path / "it" / "REPORT.html").read_text("utf-8")).text
    strange = sorted({one for one in text if not " " <= one <= "~"} - {"\n"})
    assert strange
    (line,) = [one for one in (tmp_path / "it" / "query.txt").read_text("utf-8").splitlines() if "boxes" in one]
    assert line.partition("boxes in it: ")[2] == ", ".join(f"U+{ord(one):04X}" for one in strange)
    assert f"{len(strange)} character" in done.stderr


# --- nothing is fetched ---


@pytest.fixture
def server():
    """What is asked of it, is written down."""

    class Listening(BaseHTTPRequestHandler):
        asked: ClassVar = []

        def do_GET(self):
            self.asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Listening) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{opened.server_port}/", Listening.asked
        opened.shutdown()
        thread.join()


@printing
@pytest.mark.parametrize(
    "page",
    [
        '<img src="{}">',
        '<link rel="stylesheet" href="{}">',
        '<link rel="attachment" href="{}">',
        '<style>@import "{}";</style>',
        "<style>@font-face {{ font-family: f; src: url({}) }}</style><p style='font-family: f'>x",
        "<p style='background-image: url({})'>x",
        '<svg width="9" height="9" xmlns:xlink="http://www.w3.org/1999/xlink"><image width="9" height="9" xlink:href="{}"/></svg>',
    ],
)
def test_nothing_is_fetched(server, tmp_path, page):
    """From no other machine and from no file: what is not in the page is not in the report."""
    from query.evidence.pdf import print_page

    address, asked = server
    (tmp_path / "file.css").write_text("p { color: red }")
    for url in (address, (tmp_path / "file.css").as_uri()):
        with pytest.raises(QueryError, match="cannot be printed"):
            print_page(EMPTY + page.format(url))
    assert asked == []


@printing
def test_what_is_in_the_page_is_shown():
    """A data: address asks nobody."""
    from query.evidence.pdf import print_page

    dot = "data:image/gif;base64,R0lGODlhAQABAIAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
    assert b"/Image" in print_page(f'{EMPTY}<img alt="a dot" width="90" height="90" src="{dot}">').content


# --- without the extra ---


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("raise ModuleNotFoundError('no', name='weasyprint')", "pip install 'ddbtrail[pdf]'"),
        ("print('a text'); raise OSError('cannot load library libpango: no such file\\nand more')", "apt-get install"),
    ],
)
def test_without_it_nothing_is_built(made, tmp_path, monkeypatch, capsys, content, told):
    """Said before anything is read: what is missing, and what to type."""
    (tmp_path / "weasyprint.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [*sys.modules]:
        if name.partition(".")[0] == "weasyprint" or name == "query.evidence.pdf":
            monkeypatch.delitem(sys.modules, name)
    assert made.build(tmp_path / "it", "--pdf") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err.splitlines()[-1]
    assert len(err.splitlines()) == 3
    assert not (tmp_path / "it").exists()
    assert made.build(tmp_path / "it") == 0
    capsys.readouterr()
