"""Certificates made on the spot: an authority of one's own, and what it signs for 127.0.0.1. For tests, never more."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local_kafka.ports import HOST

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates, each with a key of its own, into a folder.

    Attributes:
        certificate: the PEM file that others trust it by.
    """

    def __init__(self, folder: Path, name: str = "lethe test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._public = self._key.public_key()
        ca = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._public, 1).add_extension(ca, critical=True)
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def sign(self, name: str, *, host: str = HOST, days: int = 1, usage: str = "server") -> Pair:
        """Make a key and a certificate.

        Args:
            name: its common name, which also names the files.
            host: the address that it is for.
            days: how long it is valid from now; below 0 it has expired.
            usage: ``server`` or ``client``.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}[usage]
        made = (
            self._builder(_named(name), key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key.pem")
        pair.key.touch(0o600)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        pair.certificate.write_bytes(_pem(made))
        return pair

    def _builder(self, name: x509.Name, public: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
        end = dt.datetime.now(dt.UTC) + days * _DAY
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - abs(days) * _DAY - _DAY)
            .not_valid_after(end)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
