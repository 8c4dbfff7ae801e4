"""What a server of models counts, and how it ends: it answers what it has taken, and takes no more."""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from sparring.web.batching import Batcher
from sparring.web.guard import App, Message, Receive, Send
from sparring.web.models import Models
from sparring.web.server import RefusedError

BUCKETS = 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0  # seconds
MAX_LONG = 4  # requests that take long, at a time


class Service:
    """Models, the batcher that they share, and counters.

    Args:
        models: what it offers.

    Attributes:
        is_draining: whether it takes no more requests.
        num_samples: that were sent, by the model's name.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self.batcher = Batcher()
        self.is_draining = False
        self.num_samples: Counter[str] = Counter()
        self._num_taken = self._num_long = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._buckets: Counter[tuple[str, int]] = Counter()
        self._is_empty = asyncio.Event()

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Inside it, a request counts as taken; a RefusedError if no more are."""
        if self.is_draining:
            raise RefusedError(503, "this server is ending: ask another, or again in a moment")
        self._num_taken += 1
        try:
            yield
        finally:
            self._num_taken -= 1
            if not self._num_taken:
                self._is_empty.set()

    @contextmanager
    def working_long(self) -> Iterator[None]:
        """Inside it, a request counts as one that takes long; a RefusedError if there are too many."""
        if self._num_long >= MAX_LONG:
            raise RefusedError(429, "too many requests that take long are going on: try again in a moment")
        self._num_long += 1
        try:
            yield
        finally:
            self._num_long -= 1

    async def drain(self) -> None:
        """Take no more requests, and wait until those that were taken are answered."""
        self.is_draining = True
        self._is_empty.clear()
        if self._num_taken:
            await self._is_empty.wait()

    def counting(self, app: App, paths: Collection[str]) -> App:
        """The same application; its answers are counted by their path, if it is one of these, and status."""

        async def count(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            path, begun = scope["path"] if scope["path"] in paths else "other", time.perf_counter()

            async def send_counted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._requests[path, message["status"]] += 1
                await send(message)

            try:
                await app(scope, receive, send_counted)
            finally:
                seconds = time.perf_counter() - begun
                self._seconds[path] += seconds  # type: ignore[assignment]
                self._buckets[path, bisect_left(BUCKETS, seconds)] += 1

        return count

    def metrics(self) -> str:
        """The counters in the text form of Prometheus."""
        batcher, lines = self.batcher, list[str]()

        def add(name: str, kind: str, help_text: str, values: Mapping[str, float]) -> None:
            lines.extend([f"# HELP sparring_{name} {help_text}", f"# TYPE sparring_{name} {kind}"])
            lines.extend(f"sparring_{name}{labels} {value:g}" for labels, value in values.items())

        requests = {f'{{path="{path}",status="{status}"}}': n for (path, status), n in sorted(self._requests.items())}
        add("requests_total", "counter", "Answers by path and status.", requests)
        add("request_seconds", "histogram", "From a request's head to the end of its answer.", {})
        for path in sorted(self._seconds):
            total = 0
            for place, edge in enumerate((*map(str, BUCKETS), "+Inf")):
                total += self._buckets[path, place]
                lines.append(f'sparring_request_seconds_bucket{{path="{path}",le="{edge}"}} {total}')
            lines.append(f'sparring_request_seconds_sum{{path="{path}"}} {self._seconds[path]:g}')
            lines.append(f'sparring_request_seconds_count{{path="{path}"}} {total}')
        names = {name: '{model="' + name.replace("\\", "\\\\").replace('"', '\\"') + '"}' for name in self.models}
        sent = {label: self.num_samples[name] for name, label in names.items()}
        add("samples_total", "counter", "Samples that were sent.", sent)
        loads = {label: self.models[name].num_loads for name, label in names.items()}
        add("model_loads_total", "counter", "How often a model was loaded.", loads)
        stale = {label: bool(self.models[name].problem) for name, label in names.items()}
        add("model_stale", "gauge", "1 if a newer version of a model cannot be loaded.", stale)
        add("batches_total", "counter", "Batches that were computed.", {"": batcher.num_batches})
        add("batch_samples_total", "counter", "Samples in these batches.", {"": batcher.num_made})
        add("taken_requests", "gauge", "Requests that were taken and are not answered yet.", {"": self._num_taken})
        add("waiting_samples", "gauge", "Samples that wait or are being computed.", {"": batcher.num_samples})
        return "\n".join(lines) + "\n"
