"""What is asked about buckets, with the permission that each question needs; and what lies in the on-failure bucket."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from query.operate.answers import Answer, Missing, Pages, Unknown, is_said
from query.operate.aws import Asker
from query.operate.checks_bucket import default_encryption
from query.operate.facts import Bucket, HeldBack, OnFailure, Place

_MOST_PAGES: Final = 20  # 1,000 objects each
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "404"})


def archive_bucket(s3: Asker, kms_in: Callable[[str | None], Asker], place: Place) -> Bucket:
    """Everything about the archive's bucket. `kms_in` asks about keys of a region; None is the configured one."""

    def ask(operation: str, action: str, **missing: str) -> Answer:
        return s3.ask(operation, action, missing=missing, Bucket=place.bucket)

    head = _head(s3, place)
    if isinstance(head, Missing):
        return Bucket(place=place, head=head, lock=head)
    encryption = ask(
        "get_bucket_encryption",
        "s3:GetEncryptionConfiguration",
        ServerSideEncryptionConfigurationNotFoundError="no encryption is configured",
    )
    return Bucket(
        place=place,
        head=head,
        lock=_lock(s3, place),
        versioning=ask("get_bucket_versioning", "s3:GetBucketVersioning"),
        public_access=ask(
            "get_public_access_block",
            "s3:GetBucketPublicAccessBlock",
            NoSuchPublicAccessBlockConfiguration="no public access block is configured",
        ),
        encryption=encryption,
        key=_key(kms_in, encryption),
        policy=ask("get_bucket_policy", "s3:GetBucketPolicy", NoSuchBucketPolicy="the bucket has no policy"),
        lifecycle=_lifecycle(s3, place),
        tiering=ask("list_bucket_intelligent_tiering_configurations", "s3:GetIntelligentTieringConfiguration"),
    )


def locked_bucket(s3: Asker, place: Place) -> Bucket:
    """Whether a bucket is there, and whether it is locked."""
    head = _head(s3, place)
    return Bucket(place=place, head=head, lock=head if isinstance(head, Missing) else _lock(s3, place))


def on_failure_at(s3: Callable[[], Asker], url: str) -> OnFailure:
    """What is held back at a URL, and whether it may expire."""
    place = Place.of(url)
    if place is None:
        return OnFailure(url=url, held_back=_in_folder(url), lifecycle=None)
    found = _in_bucket(s3(), url, place)
    return OnFailure(
        url=url, held_back=found, lifecycle=found if isinstance(found, Missing) else _lifecycle(s3(), place)
    )


def _in_bucket(s3: Asker, url: str, place: Place) -> HeldBack | Missing | Unknown:
    listed = s3.list(
        "list_objects_v2",
        "s3:ListBucket",
        "Contents",
        most_pages=_MOST_PAGES,
        missing=dict.fromkeys(_NO_BUCKET, f"there is no bucket {place.bucket}"),
        Bucket=place.bucket,
        Prefix=place.folder,
    )
    if not isinstance(listed, Pages):
        return listed
    oldest_ms = min((round(one["LastModified"].timestamp() * 1_000) for one in listed.items), default=None)
    return HeldBack(url, len(listed.items), sum(one["Size"] for one in listed.items), oldest_ms, listed.is_whole)


def _in_folder(folder: str) -> HeldBack | Missing | Unknown:
    root = Path(folder)
    if not root.is_dir():
        return Missing(f"there is no folder {root}")
    refused: list[OSError] = []
    stats = [Path(parent, name).stat() for parent, _, names in os.walk(root, onerror=refused.append) for name in names]
    if refused:
        return Unknown(f"{root} could not be read: {refused[0].strerror}")
    oldest_ms = min((round(stat.st_mtime * 1_000) for stat in stats), default=None)
    return HeldBack(folder, len(stats), sum(stat.st_size for stat in stats), oldest_ms, is_whole=True)


def _head(s3: Asker, place: Place) -> Answer:
    gone = dict.fromkeys(_NO_BUCKET, f"there is no bucket {place.bucket}")
    return s3.ask("head_bucket", "s3:ListBucket", missing=gone, Bucket=place.bucket)


def _lock(s3: Asker, place: Place) -> Answer:
    off = {"ObjectLockConfigurationNotFoundError": "Object Lock is off"}
    action = "s3:GetBucketObjectLockConfiguration"
    return s3.ask("get_object_lock_configuration", action, missing=off, Bucket=place.bucket)


def _lifecycle(s3: Asker, place: Place) -> Answer:
    none = {"NoSuchLifecycleConfiguration": "the bucket has no lifecycle rules"}
    action = "s3:GetLifecycleConfiguration"
    return s3.ask("get_bucket_lifecycle_configuration", action, missing=none, Bucket=place.bucket)


def _key(kms_in: Callable[[str | None], Asker], encryption: Answer) -> Answer | None:
    key_id = default_encryption(encryption).get("KMSMasterKeyID") if is_said(encryption) else None
    if not key_id:
        return None
    region = key_id.split(":")[3] if key_id.startswith("arn:") else None
    gone = {"NotFoundException": f"there is no key {key_id}"}
    return kms_in(region).ask("describe_key", "kms:DescribeKey", missing=gone, KeyId=key_id)
