"""The texts of a package: how its question was asked, and how it is verified without this software."""

from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from query.engine import sql
from query.evidence.package import MANIFEST, SIGNATURE, SIGNING_KEY, TIME_STAMP
from query.evidence.proofs import CHECKPOINT_SIGNATURE, LOG_KEY, PROOFS, SIGNED
from query.evidence.sample import POPULATION, Drawn
from query.evidence.scope import Scope
from query.note_check import PublicKey, algorithm, fingerprint
from query.redaction import Redaction
from query.render.text import visible
from query.table import Table

if TYPE_CHECKING:
    from query.evidence.pdf import Printed

_SOFTWARE = ("ddbtrail", "duckdb", "pyarrow")
_MOST_BOXES = 50
_CONTRADICTED = """   Of some that were drawn evidence contradicts itself, so the package has no change of them: see
   "drawn, but left out" in query.txt, and the exceptions in coverage.json.
"""


def versions() -> list[tuple[str, str]]:
    """What the answer was computed with."""
    return [(name, _version(name)) for name in _SOFTWARE]


def query_text(
    scope: Scope, table: Table, redaction: Redaction, accepted: Collection[str], printed: "Printed | None" = None
) -> str:
    """How the package was asked for: command, scope, configuration, software, statements."""
    is_masked = table.attribution.steps != () and redaction.covers(table.attribution.steps)
    command = scope.command(redaction, is_actor_masked=is_masked) + "".join(f" --accept {one}" for one in accepted)
    lines = [command if printed is None else f"{command} --pdf", ""]
    if scope.is_masked(redaction, is_actor_masked=is_masked):
        told = "what is masked in this command has to be typed as it was asked, keys and lists of keys without masks"
        lines += [f"{told}: this package does not hold them", ""]
    lines += [f"{name}: {text}" for name, text in scope.told(redaction, is_actor_masked=is_masked)]
    lines += ["", f"actor attribute: {table.attribution.path or 'none is configured'}"]
    lines += [f"redacted: {', '.join(redaction.texts) or 'nothing'}"]
    lines += ["read from: evidence alone, no runs and no snapshots", ""]
    lines += [f"{name} {text}" for name, text in versions()]
    if printed is not None:
        lines += [f"REPORT.pdf: {printed.software}, with fonts of the machine; boxes in it: {_boxes(printed.boxes)}"]
    statements = ["range_conflicts", *(["evidence_listed"] if scope.listed is not None else []), "evidence_changes"]
    return "\n\n".join(["\n".join(map(visible, lines)), *(sql(name).strip() for name in statements)]) + "\n"


def _boxes(characters: Collection[str]) -> str:
    """What has no glyph in a PDF, by code point."""
    named = [f"U+{ord(one):04X}" for one in sorted(characters)]
    more = [f"and {len(named) - _MOST_BOXES} other characters"] if len(named) > _MOST_BOXES else []
    return ", ".join([*named[:_MOST_BOXES], *more]) or "none"


def how_to_verify(
    names: Collection[str], key: PublicKey | None, log_key: PublicKey | None, drawn: Drawn | None = None
) -> str:
    """The commands, none of which needs this software."""
    parts = [
        "How to verify this package with sha256sum and openssl alone. Type in the folder of this file.\n",
        f"1. Every file is as it was:\n\n    sha256sum -c {MANIFEST}\n",
        "   Each line must say OK. No other file than those and MANIFEST.* belongs to the package.\n",
        f"   If {TIME_STAMP} is there, it is a time stamp (RFC 3161) of {MANIFEST}. CA.pem is what you have of its",
        f"   authority: openssl ts -verify -data {MANIFEST} -in {TIME_STAMP} -CAfile CA.pem",
        f"   When that was: openssl ts -reply -in {TIME_STAMP} -text\n",
    ]
    if key is None:
        parts.append(
            "2. The package is not signed: whoever handed it over could have changed files and manifest alike.\n"
        )
    else:
        parts += [
            f"2. The manifest is signed ({algorithm(key)}):\n",
            f"    {_openssl(key, SIGNING_KEY, MANIFEST, SIGNATURE)}\n",
            "   The key came with the package, so compare its fingerprint with its owner, by another way:\n",
            f"    openssl pkey -pubin -in {SIGNING_KEY} -outform DER | sha256sum\n",
            f"    {fingerprint(key)}\n",
        ]
    parts += _of_the_log(names, log_key)
    if drawn is not None:
        parts += _of_the_sample(drawn)
    return "\n".join(parts)


def _of_the_log(names: Collection[str], log_key: PublicKey | None) -> list[str]:
    if PROOFS not in names:
        return ["3. The trail had no seals: nothing proves that the archive is as it was written.\n"]
    if log_key is None:
        signed = [f"3. {SIGNED} is the head of the archive's log; whoever built the package pinned no key of it.\n"]
    else:
        signed = [
            f"3. The head of the archive's log is signed ({algorithm(log_key)}):\n",
            f"    {_openssl(log_key, LOG_KEY, SIGNED, CHECKPOINT_SIGNATURE)}\n",
            "   Compare the fingerprint of this key with the owner of the log too:\n",
            f"    openssl pkey -pubin -in {LOG_KEY} -outform DER | sha256sum\n",
            f"    {fingerprint(log_key)}\n",
        ]
    return [
        *signed,
        f"Each line of {PROOFS} leads from one change of a segment to that head (sed -n 1p {PROOFS} >proof.json);",
        "docs/proofs.md of ddbtrail says how to follow it with openssl, jq and sha256sum. source-files.csv has the",
        "SHA-256 of each object of the archive that was read: compare them with sha256sum, if you have the archive.",
        "",
    ]


def _of_the_sample(drawn: Drawn) -> list[str]:
    number = len(drawn.item_keys)
    ranked = f'printf \'%s %s\\n\' "$(printf \'%s\\n%s\' {drawn.draw.seed} "$key" | sha256sum | cut -c 1-64)" "$key"'
    return [
        f"4. Only {number} of {len(drawn.population)} items are in the package. {POPULATION} has all of them, a line",
        "   for each: the SHA-256 of seed, line feed and key, then the key. In that order, the first are the sample:\n",
        f"    LC_ALL=C sort -c {POPULATION} && head -n {number} {POPULATION}\n",
        "   To draw it again, which prints nothing if all agrees:\n",
        f"    cut -d ' ' -f 2- {POPULATION} | while read -r key; do {ranked}; done | cmp - {POPULATION}\n",
        f"   The seed: {drawn.draw.origin}.",
        "   It is fixed by the period, or was given: who chooses the period, the conditions or the seed while looking",
        "   at the changes chooses the sample. Agree on all of them before.\n",
        *([_CONTRADICTED] if drawn.contradicted else []),
    ]


def _openssl(key: PublicKey, key_file: str, file: str, signature: str) -> str:
    if algorithm(key) == "Ed25519":
        return f"openssl pkeyutl -verify -pubin -inkey {key_file} -rawin -in {file} -sigfile {signature}"
    return f"openssl dgst -sha256 -verify {key_file} -signature {signature} {file}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
