"""Checks reports with axe-core in a headless Chromium: as they open, in light and dark colours,
wide and narrow.

    npm install --prefix /tmp/axe axe-core
    python docs/accessibility.py /tmp/axe/node_modules/axe-core/axe.min.js runs/demo/report.html

Exits with 1 where a serious or critical problem is found, where the page asks for anything, or
where its console has an error.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from browser import Browser

VIEWS = ((1440, False), (1440, True), (390, False))
"""Width, and whether colours are dark."""
GRAVE = ("serious", "critical")


def found(
    browser: Browser, axe: str, page: Path, width: int = 1440, dark: bool = False
) -> dict[str, Any]:
    """What axe-core finds on a page.

    Returns:
        ``passed``: how many rules hold; ``problems``: identifier, impact and the first elements of
        each rule that does not; ``open``: by rule, how many elements axe-core could not judge, such
        as the contrast of text inside SVG.
    """
    browser.resize(width, 900, dark=dark)
    browser.open(page)
    browser.run(axe)
    answer = json.loads(browser.run("axe.run(document).then((result) => JSON.stringify(result))"))
    problems = [
        {
            "id": rule["id"],
            "impact": rule["impact"],
            "where": [node["html"][:160] for node in rule["nodes"][:4]],
        }
        for rule in answer["violations"]
    ]
    unjudged = {rule["id"]: len(rule["nodes"]) for rule in answer["incomplete"]}
    return {"passed": len(answer["passes"]), "problems": problems, "open": unjudged}


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("axe", type=Path, help="axe.min.js of axe-core")
    parser.add_argument("reports", type=Path, nargs="+")
    given = parser.parse_args()
    missing = [str(path) for path in (given.axe, *given.reports) if not path.is_file()]
    if missing:
        raise SystemExit(f"There is no file {', '.join(missing)}.")
    axe, grave = given.axe.read_text(encoding="utf-8") + "; 0", 0
    with Browser() as browser:
        for page in given.reports:
            for width, dark in VIEWS:
                result = found(browser, axe, page, width, dark)
                problems = result["problems"]
                grave += sum(problem["impact"] in GRAVE for problem in problems)
                view = f"{page}, {width} px, {'dark' if dark else 'light'}"
                print(
                    f"{view}: {result['passed']} rules hold, {len(problems)} do not; not judged: "
                    f"{result['open'] or 'none'}"
                )
                for problem in problems:
                    print(
                        f"  {problem['impact']}: {problem['id']}", *problem["where"], sep="\n    "
                    )
        print(
            f"{grave} serious or critical problems, {len(browser.requests)} requests, "
            f"{len(browser.errors)} console errors"
        )
        if grave or browser.requests or browser.errors:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
