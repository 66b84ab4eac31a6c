"""Benchmark foundation-model endpoints."""
