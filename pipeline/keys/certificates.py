"""When certificates in a file expire. The file holds nothing secret: keys are elsewhere."""

from pathlib import Path

from pipeline.errors import ConfigError


def expiries_of(path: Path) -> list[float]:
    """Return when each certificate of a PEM file expires, epoch seconds, in the file's order.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    from cryptography import x509  # noqa: PLC0415 - a plaintext worker needs none of it

    problem = ""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
        return [one.not_valid_after_utc.timestamp() for one in found]
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except ValueError:
        problem = "holds no certificate in PEM"
    raise ConfigError(f"{path}: {problem}")
