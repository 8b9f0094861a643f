"""`crosscurrent`, `kubectl crosscurrent` and `python -m crosscurrent`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    from crosscurrent.cli import run  # noqa: PLC0415 - `import crosscurrent.__main__` stays free of the command line

    sys.exit(run())


if __name__ == "__main__":
    main()
