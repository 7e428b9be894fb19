"""What a server counts; worker processes share it by files in PROMETHEUS_MULTIPROC_DIR."""

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

__all__ = ['BATCH', 'CHANGES', 'LOADS', 'REFUSED', 'REQUESTS', 'SECONDS', 'exposition']

SHARED = 'PROMETHEUS_MULTIPROC_DIR'

REQUESTS = Counter(
    'pyg_mmgef_requests_total', 'Requests that were answered.', ['route', 'method', 'status']
)
SECONDS = Histogram(
    'pyg_mmgef_request_seconds',
    'Seconds from a request to its answer.',
    ['route'],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
BATCH = Histogram(
    'pyg_mmgef_batch_jobs',
    'Requests that a worker computed together.',
    buckets=(1, 2, 4, 8, 16, 32, 64),
)
CHANGES = Counter('pyg_mmgef_item_changes_total', 'Items that were added, changed or retired.')
LOADS = Counter('pyg_mmgef_export_loads_total', 'Exports that workers began to serve.')
REFUSED = Gauge(
    'pyg_mmgef_export_refused',
    'Whether a newer export is damaged and not served.',
    multiprocess_mode='livemax',
)


def exposition() -> bytes:
    """Return the counts of all workers, as Prometheus reads them."""
    if SHARED not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)
