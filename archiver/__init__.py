"""Writes evidence: change records of DynamoDB streams, as immutable Parquet segments."""
