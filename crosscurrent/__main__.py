"""`crosscurrent`, `kubectl crosscurrent` and `python -m crosscurrent`; and what kubectl asks when it completes the second."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    from crosscurrent.cli import run  # noqa: PLC0415 - `import crosscurrent.__main__` stays free of the command line

    sys.exit(run())


def complete() -> None:
    """Answer kubectl's question for completions and exit."""
    from crosscurrent.cli import complete_for_kubectl  # noqa: PLC0415

    sys.exit(complete_for_kubectl())


if __name__ == "__main__":
    main()
