"""Who signs a package of evidence: the same keys that sign seals."""

from typing import TYPE_CHECKING

from query.errors import UsageError
from query.evidence.build import Signing

if TYPE_CHECKING:
    from query.cli.invocation import Invocation


def open_signing(run: "Invocation", key: str) -> Signing:
    """The key in a file, or in KMS behind an ARN or an alias. Raises UsageError, also later where it cannot sign."""
    from archiver.errors import ArchiverError
    from archiver.signer import open_signer

    settings = run.settings

    def refused(error: ArchiverError) -> UsageError:
        return UsageError(f"the package cannot be signed with {key}", why=str(error), hint=error.hint)

    try:
        signer = open_signer(key, profile=settings.profile, region=settings.region, endpoint_url=settings.endpoint_url)
    except ArchiverError as error:
        raise refused(error) from error

    def sign(text: str) -> bytes:
        try:
            return signer.sign("ddbtrail/evidence", text).signature
        except ArchiverError as error:
            raise refused(error) from error

    return Signing(signer.public_key, sign)
