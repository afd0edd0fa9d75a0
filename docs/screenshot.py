"""A picture of a report's first screens, drawn by a headless Chromium.

    pushforward demo --out runs/demo
    python docs/screenshot.py runs/demo/report.html docs/report.png [--width 1165] [--height 1700]

The tables of scores are left out; ``--tables`` shows the page as it is.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
WITHOUT_TABLES = "<style>#scorecard > :is(h3, .scroll, .note) { display: none }</style></head>"


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1165)
    parser.add_argument("--height", type=int, default=1700)
    parser.add_argument("--tables", action="store_true")
    given = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("There is no chromium here: install it, such as by apt-get install chromium.")
    page = given.report.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder) / "report.html"
        shown.write_text(page if given.tables else page.replace("</head>", WITHOUT_TABLES, 1), encoding="utf-8")
        size = [f"--user-data-dir={folder}/profile", f"--window-size={given.width},{given.height}"]
        target = [f"--screenshot={given.picture.resolve()}", shown.as_uri()]
        subprocess.run([browser, *FLAGS, *size, *target], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
