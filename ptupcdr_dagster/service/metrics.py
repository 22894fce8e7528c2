"""The service's counters, in Prometheus form."""

from collections import Counter as Counts
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ptupcdr_dagster.service.deployed import Deployed

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of an application; each has a registry of its own.

    Args:
        pairs: What serves each pair.
    """

    def __init__(self, pairs: Mapping[str, Deployed]) -> None:
        """Start at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._people = Counter(
            "ptupcdr_people",
            "People answered, by status of the answer.",
            ("pair", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ptupcdr_request_seconds", "From a request's start to its answer.", ("pair",), buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self._failed = Counter(
            "ptupcdr_requests_failed", "Requests that could not be answered.", registry=self.registry
        )
        self.registry.register(_Bundles(pairs))

    def note(self, pair: str, statuses: Sequence[str], seconds: float) -> None:
        """Count an answered request."""
        self._seconds.labels(pair).observe(seconds)
        for status, count in Counts(statuses).items():
            self._people.labels(pair, status).inc(count)

    def failed(self) -> None:
        """Count a request that could not be answered."""
        self._failed.inc()


class _Bundles(Collector):
    def __init__(self, pairs: Mapping[str, Deployed]) -> None:
        self.pairs = pairs

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily("ptupcdr_bundle", "The bundle that serves; always 1.", labels=("pair", "digest"))
        loaded = GaugeMetricFamily("ptupcdr_bundle_loaded_timestamp_seconds", "When it was read.", labels=("pair",))
        reloads = CounterMetricFamily(
            "ptupcdr_bundle_reloads",
            "Newly deployed bundles, by whether they could be read.",
            labels=("pair", "result"),
        )
        for key, pair in self.pairs.items():
            info.add_metric((key, pair.now.digest[:12]), 1)
            loaded.add_metric((key,), pair.now.at.timestamp())
            for result, count in pair.reloads.items():
                reloads.add_metric((key, result), count)
        return info, loaded, reloads
