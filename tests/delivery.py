"""One stream record as Lambda delivers it: a test says what its record is about, and everything else is ordinary.

The shape is that of *Using AWS Lambda with Amazon DynamoDB*. Records that are not as they should be are made from these
(`tests.archiving.batches`), or drawn at random (`tests.archiving.strategies`).
"""

from typing import Any

Attributes = dict[str, Any]


def delivered(
    op: str,
    keys: Attributes,
    old: Attributes | None = None,
    new: Attributes | None = None,
    *,
    sequence_number: int,
    changed_at_s: float,
    arn: str,
    event_id: str,
    size_bytes: int = 1,
    view_type: str = "NEW_AND_OLD_IMAGES",
) -> dict[str, Any]:
    """Key and images in DynamoDB JSON; an image may leave out its key attributes. The region is that of the ARN."""
    images = {"OldImage": old, "NewImage": new}
    return {
        "eventID": event_id,
        "eventName": op,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": arn.split(":")[3],
        "dynamodb": {
            "ApproximateCreationDateTime": changed_at_s,
            "Keys": keys,
            **{name: {**image, **keys} for name, image in images.items() if image is not None},
            "SequenceNumber": str(sequence_number),
            "SizeBytes": size_bytes,
            "StreamViewType": view_type,
        },
        "eventSourceARN": arn,
    }
