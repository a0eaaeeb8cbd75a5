"""The lifecycle rules of a bucket: none may expire what must stay, nor move it to where it cannot be read at once."""

from collections.abc import Mapping
from typing import Any, Final

from query.operate.answers import Answer, Missing, is_said
from query.operate.facts import Place
from query.operate.finding import Finding, failed, not_checked, passed, unsaid
from query.render.text import counted

# A question may need any segment now: classes with an immediate GET (*Understanding and managing Amazon S3 storage
# classes*). A class that is not listed is taken for one that has to be restored first.
_IMMEDIATE: Final = frozenset(
    {"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"}
)


def check_lifecycle(code: str, answer: Answer | None, place: Place, *, keeps_versions: bool) -> Finding:
    """No rule in force may expire an object of ours, nor move one to where it cannot be read at once."""
    if isinstance(answer, Missing):
        return passed(code, "no rules: nothing expires")
    if not is_said(answer):
        return unsaid(code, answer)
    if "Rules" not in answer:  # a bucket without rules is an error of its own, and so Missing
        return not_checked(code, "AWS did not say the rules")
    rules = [rule for rule in answer.get("Rules") or () if rule.get("Status") != "Disabled" and _applies(rule, place)]
    for rule in rules:
        name = rule.get("ID") or "without a name"
        expiration = rule.get("Expiration") or {}
        if expiration.get("Days") or expiration.get("Date"):
            return failed(code, f"rule {name} expires objects", "remove the rule: nothing here may expire")
        if keeps_versions and rule.get("NoncurrentVersionExpiration"):
            why = f"rule {name} expires versions that a delete marker or an overwrite has hidden"
            return failed(code, why, "remove the rule: they are the evidence")
        moves = [*(rule.get("Transitions") or ()), *(rule.get("NoncurrentVersionTransitions") or ())]
        slow = sorted({str(move.get("StorageClass")) for move in moves} - _IMMEDIATE)
        if slow:
            why = f"rule {name} moves objects to {', '.join(slow)}, where each must be restored before it is read"
            return failed(code, why, "use GLACIER_IR or INTELLIGENT_TIERING instead")
    return passed(code, f"nothing expires; {counted(len(rules), 'rule')}")


def _applies(rule: Mapping[str, Any], place: Place) -> bool:
    """Whether a rule can reach objects below the archive. One for tags or sizes is taken to: nobody forbids the tag."""
    chosen = rule.get("Filter") or {}
    prefix = str(rule.get("Prefix") or chosen.get("Prefix") or (chosen.get("And") or {}).get("Prefix") or "")
    return prefix.startswith(place.folder) or place.folder.startswith(prefix)
