"""Figures about the service itself, in Prometheus' text format. Labels are route templates and codes, never identities."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from app.core.jobs import QueueState

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
registry = CollectorRegistry()

requests = Histogram(
    "sentinel_http_request_seconds",
    "Time to answer a request",
    ["method", "route", "status"],
    registry=registry,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


jobs = Gauge("sentinel_jobs", "Jobs in the queue", ["kind", "state"], registry=registry)
oldest_job = Gauge(
    "sentinel_oldest_job_seconds", "Age of the oldest job that waits or is worked on", ["kind"], registry=registry
)


def exposition(queue: Iterable[QueueState]) -> bytes:
    """Return all figures of this process, and those of the queue, as text."""
    jobs.clear()
    oldest_job.clear()
    for kind in queue:
        for state in ("ready", "running", "dead"):
            jobs.labels(kind.kind, state).set(getattr(kind, state))
        oldest_job.labels(kind.kind).set(kind.oldest_seconds or 0)
    return generate_latest(registry)
