"""Reports: a comparison as a self-contained HTML page, Markdown, text, JSON, CSV and LaTeX."""

from __future__ import annotations

import os
from pathlib import Path

from pushforward.errors import UsageError
from pushforward.evaluation.results import Comparison
from pushforward.files import replacing

FILES = ("report.json", "report.md", "report.html", "scores.csv", "scores.tex")


class Report:
    """Report on a comparison.

    Args:
        comparison: The result of `pushforward.compare`, `pushforward.evaluate` or
            `Comparison.from_json`, which reads no pictures.
        opening: A comparison of models in two dimensions that the page shows first, or None.
        live: The address of a page that runs the models (`pushforward.export.page`), or None.

    Raises:
        UsageError: If ``comparison`` is not a `Comparison`.
    """

    def __init__(
        self, comparison: Comparison, opening: Comparison | None = None, live: str | None = None
    ) -> None:
        if not isinstance(comparison, Comparison):
            got = type(comparison).__name__
            raise UsageError(
                f"A report needs a Comparison, as returned by pf.compare(...), but got a {got}. "
                "Read one from a file with pf.Comparison.from_json(text)."
            )
        self.comparison = comparison.best_first()
        self.opening = None if opening is None else opening.best_first()
        self.live = live

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"Report({self.comparison.title!r})"

    def _repr_html_(self) -> str:
        from pushforward.report.page import notebook

        return notebook(self.comparison)

    @property
    def answers(self) -> dict[str, str]:
        """The answers of the first screen by heading."""
        from pushforward.report.answers import answers

        return answers(self.comparison)

    @property
    def findings(self) -> list[str]:
        """The sentences of all findings."""
        from pushforward.report.findings import findings

        return [finding.text for finding in findings(self.comparison)]

    def to_json(self) -> str:
        """Return the comparison as strict JSON."""
        return self.comparison.to_json()

    def to_markdown(self) -> str:
        """Return answers, findings, scores, cost, limits and commands as Markdown."""
        from pushforward.report.plain_text import markdown

        return markdown(self.comparison)

    def to_csv(self) -> str:
        """Return all scores, the scores of each training run, and paired differences as CSV."""
        from pushforward.report.papers import csv_text

        return csv_text(self.comparison)

    def to_latex(self) -> str:
        """Return the scores as LaTeX tables, which require the package booktabs."""
        from pushforward.report.papers import latex

        return latex(self.comparison)

    def to_text(self, full: bool = False) -> str:
        """Return the answers and one table as plain text for a terminal.

        Args:
            full: Whether to add all findings, scores and limits.
        """
        from pushforward.report.plain_text import text

        return text(self.comparison, full)

    def to_html(self) -> str:
        """Return the page as HTML, which needs no other files and no network."""
        from pushforward.report.page import page

        return page(self.comparison, self.opening, self.live)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report to one file, and return its path.

        Args:
            path: The file to write, which ends in .html, .json, .md, .csv or .tex.

        Raises:
            UsageError: If the path has another ending.
            CheckpointError: If writing fails; an existing file is left unchanged.
        """
        target = Path(path)
        renderers = {
            ".html": self.to_html,
            ".json": self.to_json,
            ".md": self.to_markdown,
            ".csv": self.to_csv,
            ".tex": self.to_latex,
        }
        render = renderers.get(target.suffix.lower())
        if render is None:
            raise UsageError(
                f'Cannot write a report to "{target.name}". Use .html, .json, .md, .csv or .tex.'
            )
        text = render()
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        return target

    def save_all(self, folder: str | os.PathLike[str]) -> Path:
        """Write report.html, report.json, report.md, scores.csv and scores.tex to a folder.

        Args:
            folder: The folder, which is created if necessary.

        Raises:
            CheckpointError: If writing fails; files are replaced one by one.
        """
        where = Path(folder)
        for name in FILES:
            self.save(where / name)
        return where
