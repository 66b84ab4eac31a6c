"""The record log: what happened to each request, one row a request."""

from __future__ import annotations

from fmbench.recording.log import RECORDS, RecordLog, part_of, read_batches, read_table, rewrite, schema

__all__ = ["RECORDS", "RecordLog", "part_of", "read_batches", "read_table", "rewrite", "schema"]
