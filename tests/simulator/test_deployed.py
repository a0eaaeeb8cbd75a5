"""The deployed settings reach the simulator, and what the mapping does under them is what AWS documents."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from infra.cloudformation import sam_template
from tests.infra.resolved import Resolved
from tests.simulator.check import check
from tests.simulator.deployed import STREAM_ARN, deployed, function_environment, mapping_settings
from tests.simulator.mapping import Mapping
from tests.simulator.run import simulate
from tests.simulator.scenario import HOUR_MS, Scenario
from tests.simulator.stream import Records
from tests.simulator.toy import toy_archive, toy_read

CALM = {
    "restart_rate": 0.0, "duplicate_rate": 0.0, "lost_response_rate": 0.0, "put_fault_rate": 0.0, "throttle_rate": 0.0,
    "outage_ms": 0, "poison_rate": 0.0, "anew_rate": 0.0, "reenable_rate": 0.0, "is_skewed": False,
}  # fmt: skip


def mapping_of_the_template(**parameters):
    stack = Resolved(sam_template(), StreamArn=STREAM_ARN, **parameters)
    ((_, mapping),) = stack.of_type("AWS::Lambda::EventSourceMapping").items()
    return mapping


def test_the_settings_are_those_of_the_template():
    """Each figure is looked up in the template's parameters, so a change there changes what is tested."""
    default = {name: given["Default"] for name, given in sam_template()["Parameters"].items() if "Default" in given}
    settings = deployed()
    assert settings == {
        "batch_size": default["BatchSize"],
        "window_ms": default["BatchingWindowSeconds"] * 1000,
        "lanes": default["ParallelizationFactor"],
        "max_age_ms": default["MaximumRecordAgeSeconds"] * 1000,
        "max_retries": -1,
        "is_bisecting": True,
        "has_destination": True,
        "denies_destination": False,
        "payload_limit_bytes": 6 * 1024 * 1024,
    }
    assert settings.keys() <= {field.name for field in fields(Scenario)}
    replace(Scenario(), **settings)
    assert deployed(BatchSize=7, ParallelizationFactor=3)["batch_size"] == 7
    assert deployed(BatchSize=7, ParallelizationFactor=3)["lanes"] == 3


def test_the_environment_is_that_of_the_template():
    """The handler under test is told what the deployed one is told."""
    environment = function_environment(ArchiveBucket="audit", ArchivePrefix="a", KeySchema="orders=pk,sk")
    assert environment["DDBTRAIL_ARCHIVE"] == "s3://audit/a"
    assert environment["DDBTRAIL_KEY_SCHEMA"] == "orders=pk,sk"
    assert all(isinstance(value, str) for value in environment.values())


@pytest.mark.parametrize(
    ("property_", "value"),
    [
        ("FilterCriteria", {"Filters": []}),
        ("FunctionResponseTypes", ["ReportBatchItemFailures"]),
        ("TumblingWindowInSeconds", 60),
        ("StartingPosition", "LATEST"),
        ("DestinationConfig", {"OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:111122223333:dead"}}),
        ("MaximumBatchingWindowInSeconds", 0),
    ],
)
def test_a_setting_that_the_simulator_does_not_know_fails(property_, value):
    """A test under other settings than the deployed ones would prove nothing, silently."""
    with pytest.raises(AssertionError):
        mapping_settings({**mapping_of_the_template(), property_: value})


def test_a_role_that_may_not_put_failures_is_a_destination_that_denies():
    """The template's own policy is asked: without the statement Lambda could save nothing."""
    template = sam_template()
    statements = template["Resources"]["ArchiveRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    kept = [s for s in statements if "Fn::If" in s or "OnFailure" not in str(s["Resource"])]
    assert len(kept) < len(statements)
    statements[:] = kept
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.simulator.deployed.sam_template", lambda: template)
        assert deployed()["denies_destination"]


def test_a_destination_that_denies_drops_the_records_and_counts_them():
    """DestinationDeliveryFailures and DroppedEventCount are all that is left of them (*Types of metrics ...*)."""
    failing = {**CALM, "max_retries": 0, "put_fault_rate": 0.5, "denies_destination": True}
    outcome = simulate(2, handler=toy_archive, overrides=failing)
    gone = [emitted for emitted in outcome.records if emitted.fate == "denied" and not emitted.is_acknowledged]
    assert gone
    assert outcome.on_failure == []
    assert outcome.metrics["DroppedEventCount"] == len(gone)
    assert outcome.metrics["DestinationDeliveryFailures"] == outcome.happened["RetryAttemptsExhausted"]
    assert outcome.metrics["OnFailureDestinationDeliveredEventCount"] == 0
    saved = simulate(2, handler=toy_archive, overrides={**failing, "denies_destination": False})
    assert saved.metrics["DroppedEventCount"] == 0
    assert saved.metrics["OnFailureDestinationDeliveredEventCount"] == sum(
        document["DDBStreamBatchInfo"]["batchSize"] for document in saved.on_failure
    )


def test_the_metrics_of_a_calm_history_are_its_records():
    """Polled once, invoked once, nothing failed: the base that the counts of a bad day are read against."""
    outcome = simulate(3, handler=toy_archive, overrides=CALM)
    assert outcome.metrics == {"PolledEventCount": len(outcome.records), "InvokedEventCount": len(outcome.records)}


@pytest.mark.parametrize("kind", ["store", "function", "mapping"])
def test_an_outage_of_each_kind_heals_itself_when_it_is_short(kind):
    """Whatever fails for an hour, nothing is lost and nothing reaches the destination."""
    hour = {**CALM, **deployed(), "outage_kind": kind, "outage_ms": HOUR_MS, "outage_at": 0.3, "pause_ms": 60_000}
    outcome = simulate(4, handler=toy_archive, overrides=hour)
    assert check(outcome, toy_read(outcome.store)).passed()
    assert outcome.on_failure == []
    assert bool(outcome.happened["retry"]) == (kind != "mapping")


def test_records_are_counted_from_the_beginning_and_those_let_go_of_are_not_asked_for():
    """A restart that read a forgotten place would read the wrong records without a word."""
    records = Records()
    for number in range(5):
        records.append(number)
    records.forget_before(3)
    assert (len(records), list(records), records.since(4)) == (5, [3, 4], [4])
    with pytest.raises(AssertionError, match="let go of"):
        records.since(2)
    records.forget_before(1)
    assert records.since(3) == [3, 4]


@pytest.mark.parametrize("restart_rate", [0.0, 0.2])
def test_a_history_that_is_trimmed_is_as_whole(restart_rate, monkeypatch):
    """Letting go of what is finished changes nothing of what is delivered; a restart falls back less far, and that is all."""
    busy = {
        **CALM,
        "restart_rate": restart_rate,
        "put_fault_rate": 0.1,
        "lanes": 3,
        "batch_size": 5,
        "split_rate": 0.05,
    }
    whole = simulate(6, handler=toy_archive, overrides=busy)
    poll, held = Mapping.poll, []

    def poll_and_trim(self):
        poll(self)
        self.trim()
        held.append(sum(len(list(shard.records)) for shard in self.stream.shards))

    monkeypatch.setattr(Mapping, "poll", poll_and_trim)
    trimmed = simulate(6, handler=toy_archive, overrides=busy)
    assert max(held) < len(whole.records)
    trimmed.records = whole.records  # the model; of what was trimmed only the end is left
    assert check(trimmed, toy_read(trimmed.store)).passed()
    if restart_rate:
        assert trimmed.happened["restart from an older checkpoint"] > 2
    else:
        assert trimmed.store.journal == whole.store.journal
