"""``python -m pipeline`` is the command ``lethe``."""

import sys

from pipeline.errors import ConfigError
from pipeline.hardening import harden_process


def main() -> None:
    """Close the process to others, and only then import the command, which takes a second: settings are secrets too."""
    try:
        harden_process()
    except ConfigError as error:
        sys.exit(_refuse(error))
    from pipeline.cli import main as run_command  # noqa: PLC0415 - as said

    run_command()


def _refuse(error: ConfigError) -> int:
    sys.stderr.write(f"lethe: {error}\n")
    return 2


if __name__ == "__main__":
    main()
