"""Figures about the service itself, in Prometheus' text format. Labels are route templates and codes, never identities."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
registry = CollectorRegistry()

requests = Histogram(
    "sentinel_http_request_seconds",
    "Time to answer a request",
    ["method", "route", "status"],
    registry=registry,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


def exposition() -> bytes:
    """Return all figures of this process as text."""
    return generate_latest(registry)
