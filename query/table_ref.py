"""What people type for a table: its name, with region and account as far as they tell trails apart, or an ARN.

Law: `parse_table_ref(ref.text) == ref`. Which trail a reference means, only an archive can tell.
"""

import re
from dataclasses import dataclass

from query.errors import UsageError

# Names of tables and accounts: "Naming Rules" in the DynamoDB developer guide; emulators use regions of their own.
TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)
_SLASHED = re.compile(
    rf"(?:(?:(?P<account>\d{{12}})/)?(?P<region>[a-z0-9-]{{1,40}})/)?(?P<name>{TABLE_NAME.pattern})", re.ASCII
)
_ARN = re.compile(
    r"arn:[a-z-]+:dynamodb:(?P<region>[a-z0-9-]{1,40}):(?P<account>\d{12}):"
    rf"table/(?P<name>{TABLE_NAME.pattern})(?:/stream/[^/]+)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class TableRef:
    """A table as far as it was named: None matches any account, any region."""

    account: str | None
    region: str | None
    table_name: str

    @property
    def text(self) -> str:
        """`account/region/name`, as far as known; `parse_table_ref` reads it back."""
        return "/".join(part for part in (self.account, self.region, self.table_name) if part is not None)


def parse_table_ref(text: str) -> TableRef:
    """A table named by `name`, `region/name`, `account/region/name`, or the ARN of the table or of its stream.

    Raises UsageError.
    """
    found = _ARN.fullmatch(text) or _SLASHED.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} does not name a table",
            why="a table is name, region/name, account/region/name, or the ARN of the table or its stream",
            hint="type orders, eu-west-1/orders or 111122223333/eu-west-1/orders",
        )
    return TableRef(found["account"], found["region"], found["name"])
