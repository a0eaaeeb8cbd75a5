"""The facts of a table that is archived as `infra/template.yaml` does it, in the shapes in which AWS gives them.

Written from the API models of botocore and from what MiniStack answers; the template's own values are asserted against
in `test_checks.py`. Each call gives new objects: a test changes what it likes.
"""

import json
from dataclasses import replace

from query.operate.answers import Pages
from query.operate.facts import (
    Bucket,
    Clock,
    Facts,
    HeldBack,
    OnFailure,
    Place,
    Readers,
    Role,
    Sealed,
    Sealing,
    StreamReader,
    TrailFacts,
    Trial,
)

NOW_MS = 1_790_000_000_000
LABEL = "2026-09-01T00:00:00.000"
TABLE_ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders"
STREAM_ARN = f"{TABLE_ARN}/stream/{LABEL}"
ARCHIVE = "s3://acme-audit/ddbtrail"
ON_FAILURE = "s3://acme-failures"
KEY_ARN = "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555"
SIGNING_KEY_ARN = "arn:aws:kms:eu-west-1:111122223333:key/99999999-2222-3333-4444-555555555555"
SEALER_ARN = "arn:aws:lambda:eu-west-1:111122223333:function:orders-seal"
SEAL_ROLE_ARN = "arn:aws:iam::111122223333:role/orders-seal"
SEALS = "v1/account=111122223333/region=eu-west-1/table_name=orders/seals/"
FUNCTION_ARN = "arn:aws:lambda:eu-west-1:111122223333:function:orders-trail"


def table() -> dict:
    return {
        "TableName": "orders",
        "TableArn": TABLE_ARN,
        "TableStatus": "ACTIVE",
        "KeySchema": [
            {"AttributeName": "sk", "KeyType": "RANGE"},
            {"AttributeName": "pk", "KeyType": "HASH"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        "LatestStreamArn": STREAM_ARN,
        "LatestStreamLabel": LABEL,
        "DeletionProtectionEnabled": True,
    }


def mapping() -> dict:
    return {
        "UUID": "cf9ddcd2-34d9-4f03-a25f-64789fe2899e",
        "EventSourceArn": STREAM_ARN,
        "FunctionArn": FUNCTION_ARN,
        "State": "Enabled",
        "StateTransitionReason": "User action",
        "LastProcessingResult": "OK",
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 10_000,
        "MaximumBatchingWindowInSeconds": 60,
        "ParallelizationFactor": 1,
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": 43_200,
        "TumblingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::acme-failures"}},
        "MetricsConfig": {"Metrics": ["EventCount"]},
    }


def function() -> dict:
    return {
        "FunctionName": "orders-trail",
        "FunctionArn": FUNCTION_ARN,
        "Handler": "archiver.handler.archive",
        "Runtime": "python3.13",
        "MemorySize": 512,
        "State": "Active",
        "Role": "arn:aws:iam::111122223333:role/orders-trail",
        "Environment": {"Variables": {"DDBTRAIL_ARCHIVE": ARCHIVE, "DDBTRAIL_KEY_SCHEMA": "orders=pk,sk"}},
    }


def policy() -> dict:
    """The policy of the template's archive bucket."""
    objects = ["arn:aws:s3:::acme-audit", "arn:aws:s3:::acme-audit/*"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": objects,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "OnlyCreate",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": objects[1],
                "Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
            },
            {
                "Sid": "NobodyDeletes",
                "Effect": "Deny",
                "Principal": "*",
                "Action": [
                    "s3:DeleteObject",
                    "s3:DeleteObjectVersion",
                    "s3:PutObjectRetention",
                    "s3:PutObjectLegalHold",
                    "s3:BypassGovernanceRetention",
                ],
                "Resource": objects[1],
                "Condition": {"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/break-glass"}},
            },
            {
                "Sid": "OnlySealerSeals",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::acme-audit/ddbtrail/{SEALS}*",
                "Condition": {"ArnNotEquals": {"aws:PrincipalArn": SEAL_ROLE_ARN}},
            },
        ],
    }


def lock(mode: str = "COMPLIANCE", **duration: int) -> dict:
    retention = {"Mode": mode, **(duration or {"Days": 365})}
    return {
        "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}},
    }


def bucket() -> Bucket:
    encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY_ARN}
    return Bucket(
        place=Place("acme-audit", "ddbtrail"),
        head={"BucketRegion": "eu-west-1"},
        lock=lock(),
        versioning={"Status": "Enabled"},
        public_access={
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            }
        },
        encryption={
            "ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": encryption}]}
        },
        key={"KeyMetadata": {"KeyState": "Enabled"}},
        policy={"Policy": json.dumps(policy())},
        lifecycle={
            "Rules": [
                {
                    "ID": "cheaper-after-a-month",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "Transitions": [{"Days": 30, "StorageClass": "INTELLIGENT_TIERING"}],
                },
                {
                    "ID": "leftover-parts",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                },
            ]
        },
        tiering={"IsTruncated": False},
    )


def on_failure() -> OnFailure:
    rule = {
        "ID": "deleted-after-replay",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    }
    empty = HeldBack(ON_FAILURE, 0, 0, None, is_whole=True)
    return OnFailure(url=ON_FAILURE, held_back=empty, lifecycle={"Rules": [rule]})


def trial(decision: str, *actions: str, missing: tuple[str, ...] = ()) -> Trial:
    """A simulation in which every action ends alike."""
    results = [
        {"EvalActionName": action, "EvalDecision": decision, "MissingContextValues": list(missing)}
        for action in actions
    ]
    return Trial(actions, "arn:aws:s3:::acme-audit/ddbtrail/v1/x", Pages(tuple(results), is_whole=True))


def role() -> Role:
    return Role(
        arn=function()["Role"],
        writes=(trial("allowed", "s3:PutObject"),),
        forbidden=(trial("implicitDeny", "s3:GetObject", "s3:DeleteObject", "s3:PutObjectRetention"),),
        reads_stream=(trial("allowed", "dynamodb:GetRecords", "dynamodb:DescribeStream"),),
        saves_failures=(trial("allowed", "s3:PutObject"), trial("allowed", "s3:ListBucket")),
        encrypts=(trial("allowed", "kms:GenerateDataKey"),),
    )


def sealer() -> dict:
    return {
        "FunctionName": "orders-seal",
        "FunctionArn": SEALER_ARN,
        "Handler": "archiver.handler.seal",
        "Role": SEAL_ROLE_ARN,
        "Environment": {
            "Variables": {
                "DDBTRAIL_ARCHIVE": ARCHIVE,
                "DDBTRAIL_SEAL_TABLE": "111122223333/eu-west-1/orders",
                "DDBTRAIL_SIGNING_KEY": SIGNING_KEY_ARN,
            }
        },
    }


def signing_key(**changed: object) -> dict:
    """What DescribeKey says of the template's key."""
    told = {"KeyState": "Enabled", "KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY"}
    return {"KeyMetadata": told | changed}


def sealing(**changed: object) -> Sealing:
    """A trail that is sealed as the template does it, but for what is `changed`."""
    right = Sealing(
        function=sealer(),
        rules=({"Name": "orders-every", "State": "ENABLED", "ScheduleExpression": "rate(15 minutes)"},),
        key_arn=SIGNING_KEY_ARN,
        key=signing_key(),
        public_key={"PublicKey": b"of the signing key"},
        seals=(trial("allowed", "kms:Sign", "kms:GetPublicKey"), trial("allowed", "s3:PutObject")),
        others=(trial("implicitDeny", "kms:Sign"), trial("implicitDeny", "s3:PutObject")),
    )
    return replace(right, **changed)


def facts(**changed: object) -> Facts:
    """A right deployment, but for what is `changed`."""
    reader = StreamReader(mapping(), function())
    right = Facts(
        table=table(),
        backups={
            "ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"},
            }
        },
        ttl={"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}},
        readers=Readers((reader,)),
        reader=reader,
        concurrency={},
        archive_url=ARCHIVE,
        is_archive_assumed=False,
        bucket=bucket(),
        trail=TrailFacts({LABEL: (("pk", "S"), ("sk", "N"))}, NOW_MS - 41_000, 0, Sealed(17, NOW_MS - 600_000)),
        on_failure=on_failure(),
        derived_url="s3://acme-derived/ddbtrail",
        derived=Bucket(
            place=Place("acme-derived", "ddbtrail"),
            head={"BucketRegion": "eu-west-1"},
            lock={"ObjectLockConfiguration": {}},
        ),
        role=role(),
        sealing=sealing(),
        seals_folder=SEALS,
        clock=Clock(NOW_MS, NOW_MS + 200, NOW_MS),
    )
    return replace(right, **changed)


def with_reader(reader: StreamReader, **changed: object) -> Facts:
    """A right deployment with another mapping or function."""
    return facts(reader=reader, readers=Readers((reader,)), **changed)


def with_mapping(**changed: object) -> Facts:
    """A right deployment with other settings of the mapping; None takes one away."""
    settings = {name: value for name, value in (mapping() | changed).items() if value is not None}
    return with_reader(StreamReader(settings, function()))


def with_function(**changed: object) -> Facts:
    """A right deployment with another function; None takes a member away."""
    settings = {name: value for name, value in (function() | changed).items() if value is not None}
    return with_reader(StreamReader(mapping(), settings))


def with_variables(**variables: str) -> Facts:
    return with_function(Environment={"Variables": variables})


def with_table(**changed: object) -> Facts:
    """A right deployment of another table; None takes a member away."""
    return facts(table={name: value for name, value in (table() | changed).items() if value is not None})


def with_bucket(**changed: object) -> Facts:
    return facts(bucket=replace(bucket(), **changed))


def with_policy(change) -> Facts:
    """A right deployment with a bucket policy that `change` has worked on, in place."""
    changed = policy()
    change(changed["Statement"])
    return with_bucket(policy={"Policy": json.dumps(changed)})


def with_rule(**rule: object) -> Facts:
    """A right deployment with one more lifecycle rule on the archive's bucket."""
    rules = bucket().lifecycle["Rules"]
    return with_bucket(lifecycle={"Rules": [*rules, {"ID": "added", "Status": "Enabled", **rule}]})
