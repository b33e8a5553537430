"""A gateway that puts raw events into envelopes and sends them: with the workers' public key alone.

    export LETHE_RAW_KEY=lethe.raw.json
    GATEWAY_PUBLIC_KEY=$(lethe keys envelope | head -1) python examples/gateway_producer.py < events.jsonl

It needs `cryptography` (47 or newer) and `kafka-python`, and nothing of lethe. In another language: any library of HPKE
(RFC 9180) with the suite below; docs/sealing.md has the bytes.
"""

import json
import os
import sys
from collections.abc import Iterable
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from kafka import KafkaProducer

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Envelopes:
    """Puts events into envelopes that only the workers open."""

    def __init__(self, public_key: str) -> None:
        """Take a public key as `lethe keys envelope` prints it: ``x25519:`` and 64 hex digits."""
        data = bytes.fromhex(public_key.removeprefix("x25519:"))
        self._key = X25519PublicKey.from_public_bytes(data)
        self._head = b"\0lethe1" + sha256(data).digest()[:4]

    def seal(self, event: bytes) -> bytes:
        """Return an event in an envelope."""
        return self._head + SUITE.encrypt(event, self._key, info=b"lethe raw v1\0" + self._head)


def send(events: Iterable[bytes], envelopes: Envelopes, brokers: str, topic: str) -> int:
    """Send events, each under its request id, and wait until the brokers have them all; return how many."""
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True, linger_ms=5)
    count = 0
    for event in events:
        key = json.loads(event)["request_id"].encode()
        producer.send(topic, key=key, value=envelopes.seal(event))
        count += 1
    producer.flush()
    producer.close()
    return count


if __name__ == "__main__":
    lines = (line for line in sys.stdin.buffer.read().splitlines() if line.strip())
    made = Envelopes(os.environ["GATEWAY_PUBLIC_KEY"])
    brokers = os.environ.get("GATEWAY_BROKERS", "127.0.0.1:9092")
    topic = os.environ.get("GATEWAY_TOPIC", "requests.raw")
    sys.stderr.write(f"sent {send(lines, made, brokers, topic)} events\n")
