"""The record log: what happened to each request, one row a request."""

from __future__ import annotations

from fmbench.recording.log import RECORDS, RecordLog, read_batches, read_table, rewrite, schema

__all__ = ["RECORDS", "RecordLog", "read_batches", "read_table", "rewrite", "schema"]
