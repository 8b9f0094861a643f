"""Record the demo for the README: `make record` writes docs/demo.svg, and the same run as text into the README.

Nothing is drawn by hand: the picture is rich's export of what a terminal would have shown.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from crosscurrent.demo import run_demo
from crosscurrent.stage import Stage

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/demo.svg"
README = ROOT / "README.md"
COLUMNS = 100
_TEXT = re.compile(r'(?<=<!-- test: output of "make demo" -->\n```console\n).*?(?=^```$)', re.DOTALL | re.MULTILINE)


def main() -> int:
    """Run the demo, and keep what it showed if every check passed."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False
    )
    code = asyncio.run(run_demo(3, real=False, keep=False, stage=Stage(console, moving=False)))
    text = console.export_text(clear=False)
    if code:
        sys.stderr.write(text)
        return code
    PICTURE.write_text(console.export_svg(title="make demo", theme=MONOKAI, unique_id="demo"))
    lines = [line.rstrip() for line in text.strip().splitlines()]
    recorded = "\n".join(["$ make demo", *lines]) + "\n"
    README.write_text(_TEXT.sub(lambda _: recorded, README.read_text(), count=1))
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)}: {len(lines)} lines\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
