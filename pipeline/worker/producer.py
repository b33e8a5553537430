"""Faust's producer, with the client that lethe wants: see `pipeline.client.make_producer`."""

from typing import Any, cast

from faust.transport.drivers import aiokafka as driver


class Producer(driver.Producer):
    """A producer made by `pipeline.client.make_producer`: idempotent, acks=all, sizes from the event limit."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:  # noqa: ARG002 - Faust's signature
        return cast("Any", self.app).make_producer()

    @property
    def client(self) -> Any:
        """Return aiokafka's producer."""
        return self._ensure_producer()
