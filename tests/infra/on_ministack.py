"""The template as far as MiniStack takes it. The shipped one is never changed for an emulator's sake.

Left out is HeartbeatAlarm: "Properties.Metrics (metric math) is not supported" fails the whole stack. What MiniStack
takes and ignores stays in: Object Lock, lifecycle and encryption of buckets, MetricsConfig, BisectBatchOnFunctionError
and the batching window of the mapping, which tests/infra/test_template.py asserts as settings.
"""

from copy import deepcopy
from typing import Any

REFUSED = "HeartbeatAlarm"


def as_ministack_takes_it(template: dict[str, Any]) -> dict[str, Any]:
    """A copy of a template, SAM or plain, without the refused alarm and its mention on the dashboard."""
    taken = deepcopy(template)
    del taken["Resources"][REFUSED]
    dashboard = taken["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    mention = f'"${{{REFUSED}.Arn}}",'
    assert dashboard[0].count(mention) == 1
    dashboard[0] = dashboard[0].replace(mention, "")
    return taken
