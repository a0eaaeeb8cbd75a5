"""What is written: the same columns in every format, exact numbers, and nothing that acts on whoever looks."""

import csv
import io
import re
from html.parser import HTMLParser

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.layout import Trail
from archiver.format.values import plain_attributes
from query.answer import Basis, Change, Outcome, State
from query.diff import changed_attributes
from query.errors import UsageError
from query.redaction import Redaction
from query.render.formats import delimited_cells, text_of, write_parquet
from query.render.ids import short_ids
from query.render.records import change_sheet, difference_sheet, state_sheet
from query.render.story import Telling, heading, patch_lines, story
from query.render.text import Look, elide, grouped, size_text, visible, width_of
from query.render.views import ChangeView, StateView
from query.when import parse_when_or_rev
from tests.querying.test_diff import IMAGES

AT_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
EVIL = "=cmd|'/c calc'!A1 \x1b[31mred\x9b2J \u202egnp.exe <script>alert(1)</script> | `x`"
HUGE = "12345678901234567890123456789012345678"


class Named:
    """One segment, not sealed."""

    def __getitem__(self, told_by):
        return ["v1/x.parquet"][told_by]

    def is_sealed(self, told_by):
        return None


def make_change(old=None, new=None, *, op="MODIFY", key=None, change_id="9f31c2aa00000000", **rest):
    values = {
        "trail": Trail("111122223333", "eu-west-1", "orders"),
        "change_id": change_id,
        "op": op,
        "changed_at_ms": AT_MS,
        "effective_ms": AT_MS,
        "sequence_number": "7".zfill(40),
        "stream_label": "2026-01-01T00:00:00.000",
        "item_key": orjson.dumps(key or {"pk": {"S": "CUST#7"}}).decode(),
        "pk": "CUST#7",
        "sk": None,
        "old_image": None if old is None else orjson.dumps(old).decode(),
        "new_image": None if new is None else orjson.dumps(new).decode(),
        "user_identity": None,
        "event": "{}",
        "tellers": Named(),
        "told_by": 0,
    }
    return Change(**values | rest)


def view(old=None, new=None, redaction=None, **rest):
    return ChangeView(make_change(old, new, **rest), redaction or Redaction())


def written(sheet, output, look=None, *, is_terminal=False):
    return "".join(text_of(sheet, output, look or Look(), is_terminal=is_terminal))


PAID = {"pk": {"S": "CUST#7"}, "status": {"S": "PAID"}, "total": {"N": HUGE}, "tags": {"SS": ["b", "a"]}}
NEW = {"pk": {"S": "CUST#7"}, "status": {"S": "NEW"}, "total": {"N": "0.10"}, "tags": {"SS": ["a", "b"]}}


# --- machine formats ---


def test_a_line_of_jsonl_is_a_whole_change():
    """Scripts live on this line: its columns, their order, and every digit of a number."""
    line = written(change_sheet([view(NEW, PAID)]), "jsonl")
    assert line == (
        '{"table_name":"orders","item_key":{"pk":"CUST#7"},"change_id":"9f31c2aa00000000","op":"MODIFY",'
        '"changed_at":"2026-09-21T14:13:20Z","sequence_number":"0000000000000000000000000000000000000007",'
        '"stream_label":"2026-01-01T00:00:00.000","actor":null,"actor_source":null,"actor_reason":"not-configured",'
        '"changed_attributes":["status","total"],"changes":[{"path":"status","old":"NEW","new":"PAID"},'
        f'{{"path":"total","old":0.10,"new":{HUGE}}}],'
        f'"item":{{"pk":"CUST#7","status":"PAID","tags":["a","b"],"total":{HUGE}}},"is_sealed":null}}\n'
    )


def test_a_removal_has_no_item():
    """`item` is what the change left: null says that it left nothing."""
    row = orjson.loads(written(change_sheet([view(PAID, op="REMOVE")]), "jsonl"))
    assert row["item"] is None
    assert row["changed_attributes"] == ["pk", "status", "tags", "total"]
    assert all("new" not in change for change in row["changes"])


def test_a_ttl_delete_names_its_actor():
    """The one actor that a stream itself reports."""
    identity = '{"principalId":"dynamodb.amazonaws.com","type":"Service"}'
    row = orjson.loads(written(change_sheet([view(PAID, op="REMOVE", user_identity=identity)]), "jsonl"))
    assert (row["actor"], row["actor_source"]) == ("dynamodb-ttl", "dynamodb-ttl")


@pytest.mark.parametrize(
    ("old", "new", "op"),
    [(None, PAID, "MODIFY"), (PAID, None, "MODIFY"), (None, None, "INSERT"), (None, None, "REMOVE")],
)
def test_a_missing_image_is_not_an_empty_one(old, new, op):
    """Where the stream carried no image, what changed is not known; `[]` would say that nothing did."""
    row = orjson.loads(written(change_sheet([view(old, new, op=op)]), "jsonl"))
    assert row["changes"] is None
    assert row["changed_attributes"] is None


def test_json_is_one_document_with_a_version():
    """A script that keeps the document can tell later what its fields meant."""
    document = orjson.loads(written(change_sheet([view(NEW, PAID), view(PAID, NEW)]), "json"))
    assert document["schema_version"] == 1
    assert [row["item"]["status"] for row in document["rows"]] == ["PAID", "NEW"]
    assert orjson.loads(written(change_sheet([]), "json")) == {"schema_version": 1, "rows": []}


@pytest.mark.parametrize(("output", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_csv_holds_json_as_text(output, delimiter):
    """The same column names as everywhere, JSON as the canonical text that SQL has."""
    rows = list(csv.DictReader(io.StringIO(written(change_sheet([view(NEW, PAID)]), output)), delimiter=delimiter))
    assert rows[0]["item_key"] == '{"pk":{"S":"CUST#7"}}'
    assert rows[0]["changed_at"] == "2026-09-21T14:13:20Z"
    assert rows[0]["actor"] == ""
    assert rows[0]["item"] == f'{{"pk":"CUST#7","status":"PAID","tags":["a","b"],"total":{HUGE}}}'


@given(st.lists(st.text("a ,;\"'\r\n\t\\\u00e9", max_size=6), min_size=1, max_size=4), st.sampled_from(",\t"))
def test_csv_is_what_python_writes(texts, delimiter):
    """Its writer is the model: what it quotes is quoted, and nothing else is."""
    harmless = [f"'{text}" if text[:1] in {*"\t\r\n"} and text else text for text in texts]
    model = io.StringIO()
    csv.writer(model, delimiter=delimiter, lineterminator="\r\n").writerow(harmless)
    assert f"{delimited_cells(texts, delimiter)}\r\n" == model.getvalue()


@given(IMAGES, IMAGES)
def test_what_is_made_once_is_what_each_image_says(old, new):
    """Twins and names of one change share their work: each is still that of its own image."""
    op = "INSERT" if old is None else "REMOVE" if new is None else "MODIFY"
    row = ChangeView(make_change(old, new, op=op))
    assert row.changed_attributes == (None if old is new is None else changed_attributes(old, new))
    for cell, image in ((row.item, new), (row.old_item, old)):
        assert (cell and cell.text) == (None if image is None else orjson.dumps(plain_attributes(image)).decode())
    assert (row.old_image, row.new_image) == (row.change.old_image, row.change.new_image)


@pytest.mark.parametrize("text", ["=1+1", "+1-1", "-1-1", "@SUM(A1)", "\tx", "\rx", "\uff1d1", "-"])
def test_csv_holds_no_formula(text):
    """A spreadsheet runs what begins like a formula; the copy for spreadsheets must not hold one."""
    sheet = change_sheet([view(NEW, PAID, change_id=text)]).pick(["change_id"])
    assert next(csv.reader(io.StringIO(written(sheet, "csv").split("\n", 1)[1], newline=""))) == [f"'{text}"]


@pytest.mark.parametrize("text", ["-5", "+1.5e3", "42"])
def test_a_number_in_csv_is_no_formula(text):
    """A negative number is worth nothing with a quote before it."""
    sheet = change_sheet([view(NEW, PAID, change_id=text)]).pick(["change_id"])
    assert written(sheet, "csv") == f"change_id\n{text}\n"


def test_parquet_is_lossless_and_typed(tmp_path):
    """Whoever goes on with SQL gets times as times and JSON byte for byte."""
    write_parquet(change_sheet([view(NEW, PAID)]).pick(["changed_at", "new_image", "change_id"]), tmp_path / "x")
    table = pq.read_table(tmp_path / "x")
    assert str(table.schema.field("changed_at").type) == "timestamp[ms, tz=UTC]"
    assert table["new_image"].to_pylist() == [orjson.dumps(PAID).decode()]
    assert table.schema.metadata[b"ddbtrail.schema_version"] == b"1"


def test_parquet_without_rows_still_has_columns(tmp_path):
    """An empty answer is an answer: the next step of a pipeline must be able to read it."""
    write_parquet(change_sheet([]), tmp_path / "x")
    assert pq.read_table(tmp_path / "x").num_rows == 0


def test_columns_are_picked_in_order():
    """`-c` says which and in which order; a name that is none is answered with those that are."""
    sheet = change_sheet([view(NEW, PAID)])
    assert written(sheet.pick(["op", "table_name"]), "csv") == "op,table_name\nMODIFY,orders\n"
    with pytest.raises(UsageError, match="no column 'opp'") as raised:
        sheet.pick(["opp"])
    assert "op" in raised.value.why


@given(st.text())
def test_json_on_a_terminal_is_the_same_json(text):
    """Escaping for the eye must not change a value for whoever copies it."""
    sheet = state_sheet([StateView(State("{}", Outcome.EXISTED, Basis.CHANGE, None, text))]).pick(["reason"])
    for output in ("json", "jsonl"):
        plain, shown = (written(sheet, output, is_terminal=flag) for flag in (False, True))
        assert orjson.loads(plain) == orjson.loads(shown)
        assert visible(shown.replace("\n", "")) == shown.replace("\n", "")


# --- what is made for people ---


@pytest.mark.parametrize("output", ["table", "md", "html"])
def test_no_value_acts_on_whoever_looks(output):
    """Anyone who can write an item could otherwise move an operator's cursor or run a script in a report."""
    text = written(change_sheet([view({}, {"x": {"S": EVIL}})]).pick(["item", "change_id"]), output)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "\\u001b" in text.replace("\\\\", "\\")
    assert "<script>alert" not in text or output == "table"


def test_html_parses_to_the_values():
    """Escaped once, not twice, and loading nothing."""

    class Cells(HTMLParser):
        found, tags = [], set()

        def handle_starttag(self, tag, attrs):
            self.tags.add(tag)
            assert not {"src", "href"} & dict(attrs).keys()

        def handle_data(self, data):
            self.found.append(data)

    cells = Cells()
    cells.feed(written(difference_sheet(view({"a": {"S": "<b>&"}}, {"a": {"S": "x"}}).changes), "html"))
    assert '"<b>&"' in cells.found
    assert not {"script", "link", "img"} & cells.tags


def test_a_bar_does_not_break_a_markdown_table():
    """One cell more and every column after it is wrong."""
    line = written(difference_sheet(view({"a": {"S": "x|y"}}, {"a": {"S": "z"}}).changes), "md").splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", line)) == 5


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    """A wrapped table cannot be read; narrower than the columns allow, records become blocks."""
    views = [view(NEW, PAID | {"note": {"S": "wide 宽 " * 40}}), view(PAID, op="REMOVE")]
    look = Look(width=width)
    tables = written(change_sheet(views), "table", look)
    tales = "".join(story(views, Telling(look, with_patches=True)))
    assert max(width_of(line) for line in tables.splitlines()) <= width
    assert max(width_of(line) for line in tales.splitlines() if line.startswith("    ")) <= max(width, 30)


def test_without_a_terminal_nothing_is_cut():
    """`-o table | grep` must find what is there."""
    text = "x" * 5_000
    assert text in written(change_sheet([view(NEW, PAID | {"note": {"S": text}})]).pick(["item"]), "table")


def test_full_cuts_nothing():
    """`--full` on a terminal."""
    look = Look(width=40, is_full=True)
    assert "x" * 500 in written(change_sheet([view({}, {"n": {"S": "x" * 500}})]).pick(["item"]), "table", look)


def test_a_table_of_nothing_is_nothing():
    """A heading alone would look like an answer."""
    assert written(change_sheet([]), "table") == ""


def test_a_zone_adds_local_times_and_keeps_utc():
    """Notes are compared by UTC; a person remembers the wall clock."""
    header, line = written(change_sheet([view(NEW, PAID)]), "table", Look(zone="Europe/Paris")).splitlines()
    assert "CHANGED AT LOCAL" in header
    assert "2026-09-21T14:13:20Z" in line
    assert "2026-09-21T16:13:20+02:00" in line


def test_a_zone_leaves_machine_formats_alone():
    """A setting of one person must not change the columns of a script."""
    sheet = change_sheet([view(NEW, PAID)])
    assert written(sheet, "csv", Look(zone="Europe/Paris")) == written(sheet, "csv")


def test_a_history_reads_like_a_log():
    """One line a change, one line an attribute, marks that need no colour."""
    views = [view(NEW, PAID), view(None, NEW, op="INSERT", change_id="00d1fa00")]
    text = "".join(story(views, Telling(Look(), with_patches=True)))
    assert text == (
        "@9f31c2  2026-09-21 14:13:20Z  MODIFY  2 attributes\n"
        '    ~ status  "NEW" → "PAID"\n'
        f"    ~ total   0.10 → {HUGE}\n"
        "@00d1fa  2026-09-21 14:13:20Z  INSERT  4 attributes\n"
        '    + status  "NEW"\n'
        '    + tags    ["a","b"]\n'
        "    … 2 more (--full)\n"
    )


def test_a_history_says_when_it_does_not_know_what_changed():
    """A stream of keys only has nothing to compare."""
    text = "".join(story([view(None, PAID)], Telling(Look(), with_patches=True)))
    assert "? attributes" in text
    assert "not known" in text


def test_colour_is_only_added():
    """Without its colours the text is the same: meaning never hangs on them."""
    changes = view(NEW, PAID).changes
    coloured = "".join(patch_lines(changes, Look(is_coloured=True)))
    assert coloured != re.sub(r"\x1b\[\d*m", "", coloured) == "".join(patch_lines(changes, Look()))


def test_a_heading_fits_or_takes_two_lines():
    """The note about UTC gives way, not the key."""
    assert heading("orders", "pk=1", Look(width=80)).count("\n") == 1
    assert heading("orders", "pk=" + "1" * 30, Look(width=40)).count("\n") == 2


# --- change ids ---


def test_short_ids_are_never_ambiguous_nor_times():
    """`@` and digits only is unix seconds, so a short id holds a letter; and it names one of those shown."""
    names = short_ids(["9f31c2aaaa", "9f31c2bbbb", "1234567890abcdef", "1234567890"])
    assert names["9f31c2aaaa"] == "@9f31c2a"
    assert names["1234567890abcdef"] == "@1234567890a"
    assert names["1234567890"] == "@id:1234567890"


@given(st.sets(st.text("0123456789abcdef", min_size=1, max_size=12), min_size=1, max_size=8))
def test_a_shown_id_can_be_typed(change_ids):
    """What is printed goes back in with --at, and means that change alone; an id that begins another is written whole."""
    for change_id, name in short_ids(change_ids).items():
        rev = parse_when_or_rev(name, now_ms=AT_MS)
        found = [other for other in change_ids if other.startswith(rev.change_id_prefix)]
        assert found == [change_id] or rev.change_id_prefix == change_id


# --- redaction ---


def test_what_is_redacted_is_in_no_output(tmp_path):
    """The value is in the image, its twin, the difference and the key: one forgotten place shows it."""
    redaction = Redaction.of(["card", "pk", "a.b[0]", "m"])
    secret = {
        "card": {"S": "SECRET1"},
        "pk": {"S": "SECRET2"},
        "a": {"M": {"b": {"L": [{"S": "SECRET3"}, {"S": "open"}]}}},
        "m": {"M": {"inside": {"S": "SECRET4"}}},
    }
    other = orjson.loads(orjson.dumps(secret).replace(b"SECRET", b"SECRET0"))
    shown = view(
        secret, other, redaction, key={"pk": {"S": "SECRET2"}}, event='{"dynamodb":{"Keys":{"pk":{"S":"SECRET2"}}}}'
    )
    every = change_sheet([shown]).pick([column.name for column in change_sheet([]).columns])
    texts = [written(every, output) for output in ("jsonl", "json", "csv", "tsv", "md", "html", "table")]
    texts.append("".join(story([shown], Telling(Look(is_full=True), with_patches=True, names_items=True))))
    write_parquet(every, tmp_path / "x")
    texts.append(str(pq.read_table(tmp_path / "x").to_pylist()))
    for text in texts:
        assert "SECRET" not in text
    assert all("open" in text for text in texts[:2])


def test_a_redacted_change_is_still_a_change():
    """That the card changed is part of the history; what it was is not."""
    redaction = Redaction.of(["card"], b"a key")
    row = orjson.loads(written(change_sheet([view({"card": {"S": "1"}}, {"card": {"S": "2"}}, redaction)]), "jsonl"))
    one, other = redaction.mask({"S": "1"}), redaction.mask({"S": "2"})
    assert row["changes"] == [{"path": "card", "old": one, "new": other}]
    assert one != other


def test_a_redaction_that_cannot_be_read_is_refused():
    """Better no answer than one that shows what was meant to be hidden."""
    with pytest.raises(UsageError):
        Redaction.of(["card number"])


# --- small texts ---


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefghijklmnop", 9, "abcd…mnop"),
        ("abcdefgh", 4, "abc…"),
        ("宽宽宽宽宽宽", 8, "宽宽…宽"),
    ],
)
def test_wide_values_are_cut_in_the_middle(text, width, expected):
    """Both ends of a key or an amount tell most of it."""
    assert elide(text, width) == expected


@given(st.text(), st.integers(1, 30))
def test_what_is_cut_fits(text, width):
    """Whatever the script: some characters take two cells, some none."""
    assert width_of(elide(text, width)) <= width


def test_sizes_and_counts_are_readable():
    """Powers of 1000, as --max-scan reads them; digits in groups, as nobody counts twelve of them."""
    assert [size_text(size) for size in (0, 999, 1_800_000, 84_000_000, 1_100_000_000)] == [
        "0 B",
        "999 B",
        "1.8 MB",
        "84 MB",
        "1.1 GB",
    ]
    assert grouped(18_204_771) == "18 204 771"
