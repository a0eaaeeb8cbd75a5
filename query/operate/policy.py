"""What a bucket policy denies to everybody. Pure.

Invariant: a statement counts only if it is understood in full: a Deny, for every principal, with no other condition
than the ones looked for, on every object of the archive. Anything else narrows it, and does not count.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

Conditions = frozenset[tuple[str, str, tuple[str, ...]]]  # (operator, key, values), operator and key in lower case

ONLY_WITHOUT_TLS: Final[Conditions] = frozenset({("bool", "aws:securetransport", ("false",))})
_NO_HEADER: Final = ("null", "s3:if-none-match", ("true",))
# Leaves out the parts of multipart uploads, which carry no such header (*Enforce conditional writes on Amazon S3
# buckets*).
_CREATES: Final = ("bool", "s3:objectcreationoperation", ("true",))
ONLY_OVERWRITING: Final[tuple[Conditions, ...]] = (frozenset({_NO_HEADER}), frozenset({_NO_HEADER, _CREATES}))
_STATEMENT_KEYS: Final = frozenset({"Sid", "Effect", "Principal", "Action", "Resource", "Condition"})


@dataclass(frozen=True, slots=True)
class Denial:
    """A Deny for everybody: patterns of actions (lower case) and of resources, and the conditions it needs."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Conditions

    def covers(self, action: str, resource_prefix: str) -> bool:
        """Whether it denies an action on everything whose ARN begins with `resource_prefix`."""
        is_denied = any(fnmatchcase(action.lower(), pattern) for pattern in self.actions)
        return is_denied and any(_covers(pattern, resource_prefix) for pattern in self.resources)


def denials(policy: str) -> tuple[Denial, ...]:
    """The statements of a policy that count. Raises ValueError for what is no policy."""
    document = json.loads(policy)
    if not isinstance(document, dict):
        raise ValueError("it is not an object")
    return tuple(_denials(_list(document.get("Statement"))))


def undenied(
    found: Sequence[Denial], actions: Sequence[str], resource_prefix: str, fits: Callable[[Conditions], bool]
) -> list[str]:
    """The actions that no statement with fitting conditions denies."""
    fitting = [denial for denial in found if fits(denial.conditions)]
    return [action for action in actions if not any(denial.covers(action, resource_prefix) for denial in fitting)]


def excepted(conditions: Conditions) -> tuple[str, ...] | None:
    """The principals that a Deny spares, none if it spares nobody; None for any other condition."""
    if not conditions:
        return ()
    (operator, key, values), *others = sorted(conditions)
    is_exception = operator in {"arnnotequals", "arnnotlike", "stringnotequals"} and key == "aws:principalarn"
    # A wildcard spares whoever fits it: that is no exception but a hole.
    return values if is_exception and not others and not any("*" in value for value in values) else None


def _denials(statements: Sequence[Any]) -> Iterator[Denial]:
    for statement in statements:
        if not isinstance(statement, Mapping) or set(statement) - _STATEMENT_KEYS:
            continue  # NotAction, NotResource, NotPrincipal: an exception that is not understood
        if statement.get("Effect") == "Deny" and _is_everybody(statement.get("Principal")):
            yield Denial(
                tuple(action.lower() for action in _list(statement.get("Action"))),
                tuple(_list(statement.get("Resource"))),
                _conditions(statement.get("Condition") or {}),
            )


def _is_everybody(principal: Any) -> bool:
    return principal == "*" or (isinstance(principal, Mapping) and "*" in _list(principal.get("AWS")))


def _conditions(condition: Mapping[str, Any]) -> Conditions:
    return frozenset(
        (operator.lower(), key.lower(), tuple(_flag_or_text(value) for value in _list(values)))
        for operator, keys in condition.items()
        for key, values in keys.items()
    )


def _flag_or_text(value: Any) -> str:
    """JSON's true, and "True", are the condition value "true"; any other value stays as it is."""
    text = str(value)
    return text.lower() if text.lower() in {"true", "false"} else text


def _covers(pattern: str, prefix: str) -> bool:
    """Whether everything that begins with `prefix` fits a pattern. Only a `*` at the end is understood."""
    if not pattern.endswith("*"):
        return False
    beginning = pattern.rstrip("*")
    return not any(wildcard in beginning for wildcard in "*?") and prefix.startswith(beginning)


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
