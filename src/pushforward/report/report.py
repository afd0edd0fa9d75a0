"""A comparison rendered as one self-contained HTML page, as Markdown, as text and as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pushforward.errors import UsageError
from pushforward.evaluation.results import Comparison
from pushforward.files import replacing


class Report:
    """Renders a comparison.

    Args:
        comparison: From `pushforward.compare`, `pushforward.evaluate`, or `Comparison.from_json`; one that was read from JSON has
            no pictures.
        opening: Models in two dimensions that the page shows first, in moving pictures; None for a page without.
        live: The address of a page that runs the models (`pushforward.export.page`), to which this one links; None for none.

    Raises:
        UsageError: If it is something else.
    """

    def __init__(self, comparison: Comparison, opening: Comparison | None = None, live: str | None = None) -> None:
        if not isinstance(comparison, Comparison):
            raise UsageError(
                f"A report renders a Comparison, as pf.compare(...) returns it; got a {type(comparison).__name__}. "
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
        """What is best, how clearly, what is copied, how fast, what is wrong, and what to do next, by heading."""
        from pushforward.report.answers import answers

        return answers(self.comparison)

    @property
    def verdict(self) -> list[str]:
        """The findings in words."""
        from pushforward.report.findings import findings

        return [finding.text for finding in findings(self.comparison)]

    def to_json(self) -> str:
        """The comparison as strict JSON."""
        return self.comparison.to_json()

    def to_markdown(self) -> str:
        """Answers, findings, scores, cost, limits and commands."""
        from pushforward.report.plain_text import markdown

        return markdown(self.comparison)

    def to_csv(self) -> str:
        """Return all scores, each training run's scores, and paired differences as CSV."""
        from pushforward.report.papers import csv_text

        return csv_text(self.comparison)

    def to_latex(self) -> str:
        """Return the scores as LaTeX tables, which need the package booktabs."""
        from pushforward.report.papers import latex

        return latex(self.comparison)

    def to_text(self, full: bool = False) -> str:
        """Plain text for a terminal: the answers and one table; in full all findings and scores."""
        from pushforward.report.plain_text import text

        return text(self.comparison, full)

    def to_html(self) -> str:
        """The whole page; it loads nothing from anywhere."""
        from pushforward.report.page import page

        return page(self.comparison, self.opening, self.live)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one file, whole or not at all.

        Args:
            path: Ends in .html, .json, .md, .csv (`to_csv`) or .tex (`to_latex`).

        Raises:
            UsageError: For another ending.
            CheckpointError: If the disk refuses; what was there stays.
        """
        target = Path(path)
        renderers = {
            ".html": self.to_html,
            ".json": self.to_json,
            ".md": self.to_markdown,
            ".csv": self.to_csv,
            ".tex": self.to_latex,
        }
        if target.suffix.lower() not in renderers:
            raise UsageError(f'A report is written as .html, .json, .md, .csv or .tex; "{target.name}" has another ending.')
        _write({target: renderers[target.suffix.lower()]()})
        return target

    def save_all(self, folder: str | os.PathLike[str]) -> Path:
        """Write a report into a folder, and return the folder.

        The files are report.html, report.json, report.md, scores.csv and scores.tex.

        Raises:
            CheckpointError: If the disk refuses; files are replaced one by one.
        """
        where = Path(folder)
        texts = {"report.json": self.to_json(), "report.md": self.to_markdown(), "report.html": self.to_html()}
        texts |= {"scores.csv": self.to_csv(), "scores.tex": self.to_latex()}
        _write({where / name: text for name, text in texts.items()})
        return where


def _write(files: Mapping[Path, str]) -> None:
    for target, text in files.items():
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
