"""A template with its parameters filled in, and its policies asked as IAM would answer.

Only as much of CloudFormation and IAM as infra/template.yaml uses; whatever it does not know fails loudly. Names of
resources that AWS would make up are `<stack>-<logical id>` in lower case.
"""

import fnmatch
import re
from dataclasses import dataclass, field
from typing import Any

PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "111122223333",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "trail",
}
ABSENT = object()


class Resolved:
    """The resources and outputs of a template under `parameters`; what a false condition leaves out is not there."""

    def __init__(self, template: dict[str, Any], **parameters: Any) -> None:
        self._template = template
        defaults = {name: given.get("Default") for name, given in template["Parameters"].items()}
        unknown = parameters.keys() - defaults.keys()
        assert not unknown, f"no parameters of the template: {unknown}"
        self._values = defaults | parameters | PSEUDO
        self.resources = self._present("Resources")
        self.outputs = self._present("Outputs")

    def properties(self, name: str) -> dict[str, Any]:
        return self.resources[name]["Properties"]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: found["Properties"] for name, found in self.resources.items() if found["Type"] == kind}

    def role(self, name: str) -> list["Statement"]:
        """What a role says of itself, and what policies say that are attached to it."""
        attached = [
            policy for policy in self.of_type("AWS::IAM::Policy").values() if self._physical(name) in policy["Roles"]
        ]
        return [
            Statement.of(statement)
            for policy in [*self.properties(name)["Policies"], *attached]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def key_policy(self, name: str) -> list["Statement"]:
        """For whoever is of the account, which has to be the one principal: its IAM has its say too."""
        statements = self.properties(name)["KeyPolicy"]["Statement"]
        account = {"AWS": f"arn:{PSEUDO['AWS::Partition']}:iam::{PSEUDO['AWS::AccountId']}:root"}
        assert [statement["Principal"] for statement in statements] == [account] * len(statements)
        return [Statement.of({**statement, "Principal": "*"}) for statement in statements]

    def bucket_policy(self, name: str) -> list["Statement"]:
        return [Statement.of(statement) for statement in self.properties(name)["PolicyDocument"]["Statement"]]

    def _present(self, section: str) -> dict[str, Any]:
        return {
            name: self._value(body)
            for name, body in self._template[section].items()
            if "Condition" not in body or self._holds(body["Condition"])
        }

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            condition = self._template["Conditions"][condition]
        ((function, argument),) = condition.items()
        match function:
            case "Fn::Equals":
                return self._value(argument[0]) == self._value(argument[1])
            case "Fn::Not":
                return not self._holds(argument[0])
            case "Fn::And":
                return all(self._holds(inner) for inner in argument)
            case "Condition":
                return self._holds(argument)
        raise AssertionError(f"unknown condition {function}")

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for inner in value if (found := self._value(inner)) is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        resolved = {name: self._value(inner) for name, inner in value.items()}
        return {name: inner for name, inner in resolved.items() if inner is not ABSENT}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return self._attribute(*argument)
            case "Fn::If":
                return self._value(argument[1 if self._holds(argument[0]) else 2])
            case "Fn::Select":
                return self._value(argument[1])[int(argument[0])]
            case "Fn::Split":
                return self._value(argument[1]).split(argument[0])
            case "Fn::Sub":
                text, given = argument if isinstance(argument, list) else (argument, {})
                own = {name: self._value(inner) for name, inner in given.items()}
                return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", lambda found: str(self._named(found[1], own)), text)
        raise AssertionError(f"unknown function {function}")

    def _named(self, name: str, own: dict[str, Any]) -> Any:
        if name in own:
            return own[name]
        return self._attribute(*name.split(".")) if "." in name else self._ref(name)

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return ABSENT
        return self._values[name] if name in self._values else self._physical(name)

    def _physical(self, name: str) -> str:
        assert name in self._template["Resources"], name
        return f"{PSEUDO['AWS::StackName']}-{name}".lower()

    def _attribute(self, name: str, attribute: str) -> str:
        assert attribute == "Arn", f"{name}.{attribute}"
        kind, physical = self._template["Resources"][name]["Type"], self._physical(name)
        begin, account = f"arn:{PSEUDO['AWS::Partition']}", PSEUDO["AWS::AccountId"]
        where = f"{PSEUDO['AWS::Region']}:{account}"
        return {
            "AWS::S3::Bucket": f"{begin}:s3:::{physical}",
            "AWS::IAM::Role": f"{begin}:iam::{account}:role/{physical}",
            "AWS::Logs::LogGroup": f"{begin}:logs:{where}:log-group:{physical}:*",
            "AWS::KMS::Key": f"{begin}:kms:{where}:key/{physical}",
            "AWS::Events::Rule": f"{begin}:events:{where}:rule/{physical}",
            "AWS::CloudWatch::Alarm": f"{begin}:cloudwatch:{where}:alarm:{physical}",
            "AWS::Serverless::Function": f"{begin}:lambda:{where}:function:{physical}",
        }[kind]


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, lists made of single values."""

    effect: str
    actions: list[str]
    resources: list[str]
    sid: str = ""
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, statement: dict[str, Any]) -> "Statement":
        known = {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
        assert statement.keys() <= known, statement.keys() - known
        # A Deny for some would leave out the others; an Allow for all would be public.
        assert statement.get("Principal", "*") == "*", f"only statements for everybody are understood: {statement}"
        return cls(
            statement["Effect"],
            _listed(statement["Action"]),
            _listed(statement["Resource"]),
            statement.get("Sid", ""),
            statement.get("Condition", {}),
        )

    def applies(self, action: str, resource: str, context: dict[str, str]) -> bool:
        return (
            any(fnmatch.fnmatchcase(action, pattern) for pattern in self.actions)
            and any(fnmatch.fnmatchcase(resource, pattern) for pattern in self.resources)
            and all(
                _holds(operator, context.get(key), wanted)
                for operator, tests in self.conditions.items()
                for key, wanted in tests.items()
            )
        )


def allowed(statements: list[Statement], action: str, resource: str, **context: str) -> bool:
    """Whether an identity with these statements may: allowed by one, denied by none."""
    effects = {statement.effect for statement in statements if statement.applies(action, resource, _keys(context))}
    return effects == {"Allow"}


def denied(statements: list[Statement], action: str, resource: str, **context: str) -> bool:
    """Whether one of these statements forbids it, whoever allows it."""
    applying = [statement for statement in statements if statement.applies(action, resource, _keys(context))]
    return any(statement.effect == "Deny" for statement in applying)


# Python's names cannot hold what condition keys do.
_KEYS = {
    "secure": "aws:SecureTransport",
    "principal": "aws:PrincipalArn",
    "if_none_match": "s3:if-none-match",
    "creates": "s3:ObjectCreationOperation",
    "bucket_account": "s3:ResourceAccount",
    "via": "kms:ViaService",
}


def _keys(context: dict[str, str]) -> dict[str, str]:
    return {_KEYS[name]: value for name, value in context.items()}


def _holds(operator: str, given: str | None, wanted: Any) -> bool:
    match operator:
        case "Null":
            return (given is None) == (wanted == "true")
        case "Bool" | "StringEquals":
            return given == wanted
        case "StringLike":
            return given is not None and fnmatch.fnmatchcase(given, wanted)
        case "ArnEquals":
            return given is not None and given == wanted
        case "ArnNotEquals":  # a negated operator holds where the key is missing
            return given != wanted
    raise AssertionError(f"unknown operator {operator}")


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
