"""What happens in the sample archive: three tables of a shop in the third quarter of 2026. Pure, the same every time.

customers   key `number` (N); credit limits, card numbers, a score of 38 digits; everything is archived
orders      key `customer`, `order` (S); lines, sets, binary, deletes, carts that expire; a gap in August, when the
            stream was off for an afternoon
stock       key `sku` (S); one batch was lost, and nobody noticed
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from typing import Final

from query.cli.sample_table import Attributes, SampleTable

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
_SKUS: Final = ("A-1", "B-2", "C-3", "D-4", "E-5", "F-6", "G-7", "H-8")


def at(text: str) -> int:
    """An instant in epoch seconds: `2026-08-18T09:30`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def text(value: str) -> Attributes:
    return {"S": value}


def number(value: object) -> Attributes:
    return {"N": str(value)}


STREAM_ON: Final = at("2026-06-24T08:00")
STREAM_OFF: Final = at("2026-08-18T13:00")
STREAM_ON_AGAIN: Final = at("2026-08-18T17:30")
QUARTER_END: Final = at("2026-10-01T00:00")


def tables() -> tuple[SampleTable, ...]:
    """The three tables, as they stood when the quarter was over."""
    return _customers(), _orders(), _stock()


def _dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311  a story that is the same every time


# --- customers: complete, and what a reviewer looks at ---


def _customers() -> SampleTable:
    table, dice = SampleTable("customers", (("number", "N"),)), _dice(7)
    table.begin(at("2026-05-11T09:00"))
    for place in range(1, 13):
        table.put(
            str(place),
            name=text(f"Customer {place}"),
            credit_limit=number(1000 * (1 + place % 4)),
            card_number=text(f"4000 0000 0000 {1000 + 37 * place}"),
            score=number("0." + sha256(str(place).encode()).hexdigest().translate(_DIGITS)[:37] + "7"),
            tags={"SS": ["retail", "newsletter"] if place % 3 else ["wholesale"]},
            updated_by=text("import-2026"),
        )
    table.stream(STREAM_ON)
    table.begin(STREAM_ON + 600)
    table.read_whole(STREAM_ON + 600)
    for week in range(14):
        table.begin(at("2026-06-29T09:00") + 7 * DAY_S * week + 1800 * dice.randrange(10))
        for place in sorted(dice.sample(range(1, 11), 4)):
            changed = number(500 * dice.randrange(2, 13))
            table.set(str(place), credit_limit=changed, updated_by=text(dice.choice(["alice", "alice", "bob"])))
        if week % 4 == 2:  # noqa: PLR2004  some weeks
            table.set(str(1 + week), card_number=text(f"4000 0000 0000 {2000 + week}"), updated_by=text("svc-cards"))
        if week == 8:  # noqa: PLR2004  the change that the notebooks ask about
            table.set("7", credit_limit=number(25000), updated_by=text("mallory"))
        table.end()
    return table


_DIGITS: Final = str.maketrans("abcdef", "123456")


# --- orders: a gap, and every kind of value ---


def _orders() -> SampleTable:
    table, dice = SampleTable("orders", (("customer", "S"), ("order", "S"))), _dice(11)
    table.begin(at("2026-06-02T10:00"))
    for place in range(1, 9):
        table.put(*_order(place), **_placed(dice, place), status=text("SHIPPED"), updated_by=text("svc-parcels"))
    table.stream(STREAM_ON)
    table.begin(STREAM_ON + 900)
    table.read_whole(STREAM_ON + 900)
    waiting: list[tuple[tuple[str, str], int]] = []
    place = 8
    for moment in _office_hours(dice, STREAM_ON + DAY_S, STREAM_OFF - HOUR_S):
        place = _business(table, dice, moment, place, waiting)
    table.stream(None)
    table.begin(STREAM_OFF + HOUR_S)
    table.set(*_order(3), status=text("RETURNED"), updated_by=text("bob"))  # nobody will ever know
    table.set(*_order(12), status=text("CANCELLED"), updated_by=text("bob"))
    table.stream(STREAM_ON_AGAIN)
    table.begin(STREAM_ON_AGAIN + 600)
    table.read_whole(STREAM_ON_AGAIN + 600)
    for moment in _office_hours(dice, STREAM_ON_AGAIN + DAY_S, QUARTER_END - DAY_S):
        place = _business(table, dice, moment, place, waiting)
    return table


def _office_hours(dice: Random, since_s: int, until_s: int) -> Iterator[int]:
    moment = since_s
    while moment < until_s:
        yield moment - moment % HOUR_S
        moment += dice.randrange(3 * DAY_S, 5 * DAY_S) + dice.randrange(8) * HOUR_S


def _business(
    table: SampleTable, dice: Random, moment: int, place: int, waiting: list[tuple[tuple[str, str], int]]
) -> int:
    """An hour of business: new orders, and what becomes of older ones. The number of the last order."""
    table.begin(moment + dice.randrange(600))
    for key in sorted(key for key, item in table.items.items() if _is_expired(item, moment)):
        table.delete(*key, expired=True)
    for key, step in waiting[:6]:
        if key in table.items:
            _step(table, dice, key, step)
    waiting[:6] = [(key, step + 1) for key, step in waiting[:6] if step < 2]  # noqa: PLR2004  paid, packed, shipped
    for _ in range(2):
        place += 1
        table.put(*_order(place), **_placed(dice, place), status=text("NEW"), updated_by=text("shop-web"))
        waiting.append((_order(place), 0))
    table.put(f"CUST#{place % 5}", f"CART#{place}", expires_at=number(moment + 6 * DAY_S), updated_by=text("shop-web"))
    if place % 10 == 0:
        table.delete(*_order(place - 1))
    table.end()
    return place


def _step(table: SampleTable, dice: Random, key: tuple[str, str], step: int) -> None:
    match step:
        case 0:
            table.set(
                *key,
                status=text("PAID"),
                paid_at=number(table.batches[-1].changed_at_s),
                updated_by=text("svc-billing"),
            )
        case 1 if dice.random() < 0.3:  # noqa: PLR2004  now and then somebody corrects an order by hand
            lines = [dict(line["M"]) for line in table.items[key]["lines"]["L"]]
            lines[0]["qty"] = number(dice.randrange(1, 9))
            who = text(dice.choice(["alice", "bob"]))
            table.set(*key, lines={"L": [{"M": line} for line in lines]}, note={"NULL": True}, updated_by=who)
        case 1:
            table.set(*key, status=text("PACKED"), updated_by=text("svc-parcels"))
        case _:
            table.set(*key, status=text("SHIPPED"), parcel=_parcel(key), updated_by=text("svc-parcels"))


def _is_expired(item: Attributes, moment: int) -> bool:
    return "expires_at" in item and int(item["expires_at"]["N"]) < moment


def _order(place: int) -> tuple[str, str]:
    return f"CUST#{place % 7}", f"ORDER#{place:04}"


def _parcel(key: tuple[str, str]) -> Attributes:
    """A label as the printer got it: base64 in DynamoDB JSON."""
    return {"B": "AP/+" + sha256("".join(key).encode()).hexdigest()[:24].upper()}


def _placed(dice: Random, place: int) -> Attributes:
    lines = [
        {
            "M": {
                "sku": text(dice.choice(_SKUS)),
                "qty": number(dice.randrange(1, 5)),
                "price": number(f"{dice.randrange(5, 90)}.90"),
            }
        }
        for _ in range(dice.randrange(1, 4))
    ]
    return {
        "lines": {"L": lines},
        "total": number(
            f"{sum(round(float(one['M']['price']['N']) * int(one['M']['qty']['N']) * 10) for one in lines) / 10:.2f}"
        ),
        "tags": {"SS": sorted(dice.sample(["gift", "fragile", "express", "pickup"], 2))},
        "reference": number(f"{place}{sha256(str(place).encode()).hexdigest().translate(_DIGITS)}"[:38]),
        "gift": {"BOOL": dice.random() < 0.2},  # noqa: PLR2004
    }


# --- stock: a batch that was lost ---


def _stock() -> SampleTable:
    table, dice = SampleTable("stock", (("sku", "S"),)), _dice(13)
    table.begin(at("2026-06-01T07:00"))
    for sku in _SKUS:
        table.put(sku, on_hand=number(dice.randrange(40, 90)), bins={"NS": ["1", "12"]}, updated_by=text("svc-stock"))
    table.stream(STREAM_ON)
    table.begin(STREAM_ON + 1200)
    table.read_whole(STREAM_ON + 1200)
    for day in range(4, 96, 4):
        table.begin(at("2026-06-25T06:00") + day * DAY_S)
        is_lost = day == 80  # noqa: PLR2004  Lambda gave up on this one, and nobody replayed it
        for sku in sorted(dice.sample(_SKUS[:5] if day > 80 else _SKUS, 3)):  # noqa: PLR2004  three rest after it
            table.set(sku, on_hand=number(dice.randrange(0, 120)), updated_by=text("svc-stock"))
        if is_lost:
            table.set("G-7", on_hand=number(3), updated_by=text("svc-stock"))
            table.put("I-9", on_hand=number(10), bins={"NS": ["40"]}, updated_by=text("bob"))
        table.end(is_lost=is_lost)
    return table
