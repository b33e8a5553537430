"""Ends the connections of a Kafka client in bounded time.

aiokafka closes a connection and waits until it is gone. Over TLS the event loop first waits for the other side's
close_notify, for up to 30 seconds; a broker that holds a fetch was seen to give none for longer than a worker's whole
grace time. Kafka's messages carry their length (nothing can be cut short unseen, RFC 8446 §6.1), and whoever closes a
client here has all the answers that it waited for: so after a moment connections are cut.
"""

import asyncio
from typing import Any

GOODBYE_S = 1.0
"""How long a connection may take to end in good order, and then again to be gone when it is cut."""


def end_soon(client: Any) -> None:
    """Have a client's connections end in bounded time when it is closed.

    Args:
        client: an `aiokafka.client.AIOKafkaClient`: what a consumer or a producer sends with.
    """
    close = client.close

    async def closed() -> None:
        transports = [
            connection._writer.transport  # noqa: SLF001 - there is no other way to it
            for connection in client._conns.values()  # noqa: SLF001 - as above
            if connection._writer is not None  # noqa: SLF001 - as above
        ]
        closing = asyncio.ensure_future(close())
        await asyncio.wait({closing}, timeout=GOODBYE_S)
        if not closing.done():
            for transport in transports:
                transport.abort()
            await asyncio.wait({closing}, timeout=GOODBYE_S)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)

    client.close = closed
