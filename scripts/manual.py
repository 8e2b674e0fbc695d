"""What mkdocs adds to the pages in docs/: the README as the first page, and every component with its keys."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

from trainkit.experiment import reference

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
FAMILIES = {
    "data": "Sources for `data`.",
    "transforms": "Random transforms of training samples, for the list `data.augment`.",
    "models": "Networks for `model`.",
    "layers": "Layers for the list `model.layers` of `sequential`.",
    "losses": "What is minimised: `loss`.",
    "metrics": "What is measured, for the list `metrics`.",
    "optimizers": "How weights change: `optimizer`.",
    "schedulers": "How the learning rate changes: `scheduler`.",
    "sinks": "Who is told what a run says, for the list `log.sinks`.",
    "sections": "The sections that have keys, but no name.",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files in docs/ (called by mkdocs)."""
    pages = {"index.md": first_page()} | {f"components/{family}.md": components(family) for family in FAMILIES}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Make a link of `trainkit list FAMILY` (called by mkdocs)."""
    return re.sub(
        rf"`trainkit list ({'|'.join(FAMILIES)})`",
        lambda found: f"[{found[0]}]({get_relative_url(f'components/{found[1]}.md', page.file.src_uri)})",
        markdown,
    )


def first_page() -> str:
    """The README, with links from docs/ instead of from the root. What is outside docs/ is named without a link."""
    text = (ROOT / "README.md").read_text().replace("](docs/", "](").replace('src="docs/', 'src="')
    return re.sub(r"\[([^]]+)\]\((?:CONTRIBUTING|CHANGELOG)\.md\)", r"\1", text)


def components(family: str) -> str:
    """The components of a family, each with its keys, in Markdown."""
    parts = [f"# {family.capitalize()}", FAMILIES[family]]
    for name, config_class in reference.members(family).items():
        parts += [f"## {name}", inspect.getdoc(config_class) or ""]
        rows = [
            [
                f"`{option.key}`",
                option.kind,
                "required" if option.default is None else f"`{option.default}`",
                option.text,
            ]
            for option in reference.options(config_class)
        ]
        if rows:
            parts.append("\n".join(map(_row, [["key", "type", "default", ""], ["-"] * 4, *rows])))
    return "\n\n".join(parts) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in cells)} |"
