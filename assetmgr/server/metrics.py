"""What the server counts, and ``/metrics`` in Prometheus's text format."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping


class Metrics:
    """Counters since the start."""

    def __init__(self) -> None:
        self._started = time.time()
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._bytes = 0
        self._events: Counter[str] = Counter()

    def answered(self, method: str, status: int, sent: int) -> None:
        with self._lock:
            self._requests[method, status] += 1
            self._bytes += sent

    def count(self, event: str) -> None:
        with self._lock:
            self._events[event] += 1

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """The document; ``gauges`` are more values by name, each with its help."""
        with self._lock:
            requests, sent, events = dict(self._requests), self._bytes, dict(self._events)
        lines = ["# HELP assetmgr_requests_total Requests answered.", "# TYPE assetmgr_requests_total counter"]
        for (method, status), count in sorted(requests.items()):
            lines.append(f'assetmgr_requests_total{{method="{method}",status="{status}"}} {count}')
        values = [("sent_bytes_total", "Bytes of bodies sent.", "counter", float(sent))]
        for name, words in EVENTS.items():
            values.append((f"{name}_total", words, "counter", float(events.get(name, 0))))
        values += [(name, words, "gauge", value) for name, (words, value) in gauges.items()]
        values.append(("start_time_seconds", "When the server was started, in Unix seconds.", "gauge", self._started))
        for name, words, kind, value in values:
            lines += [
                f"# HELP assetmgr_{name} {words}",
                f"# TYPE assetmgr_{name} {kind}",
                f"assetmgr_{name} {value:.15g}",
            ]
        return "\n".join(lines) + "\n"


EVENTS = {
    "connections": "Connections taken.",
    "connections_refused": "Connections refused because there were too many.",
    "requests_cut": "Answers that were not sent to their end.",
    "slow_clients": "Connections cut off because the client sent or took too slowly.",
    "unproved": "Requests for files that are no longer as they were proved.",
    "pulls": "Pulls begun for clients.",
    "pulls_failed": "Of these, pulls that failed.",
}
