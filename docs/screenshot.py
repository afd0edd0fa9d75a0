"""A picture of a report's first screens, drawn by a headless Chromium.

    pushforward demo --out runs/demo
    python docs/screenshot.py runs/demo/report.html docs/report.png [--width 1165] [--height 1700]
    [--dark]

The tables of scores are left out; ``--tables`` shows the page as it is, and ``--whole`` all of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from browser import Browser

WITHOUT_TABLES = (
    "document.head.insertAdjacentHTML('beforeend', '<style>#scorecard { display: "
    "none }</style>'); "
    "0"
)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1165)
    parser.add_argument("--height", type=int, default=1700)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    if not given.report.is_file():
        raise SystemExit(
            f"There is no file {given.report}. Name the report.html that compare, report or demo "
            "wrote."
        )
    try:
        browser = Browser()
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from error
    with browser:
        browser.resize(given.width, given.height, dark=given.dark)
        browser.open(given.report)
        if not given.tables:
            browser.run(WITHOUT_TABLES)
        browser.picture(given.picture, given.whole)


if __name__ == "__main__":
    main()
