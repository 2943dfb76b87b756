"""What `make docs` adds to MkDocs: pages of files outside docs/, the API reference, and links that fit the site."""

import ast
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Page -> the file that it shows.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "data_sets.md": "data/raw/README.md",
    "settings.md": "params.yaml",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
# What a browser asks for by itself when a page is opened.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|link(?![^>]*\brel=["']?canonical))\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//"""
    r"""|@import\s+["']?(?:url\()?["']?(?:https?:)?//|\burl\(["']?(?:https?:)?//"""
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the rooms to the navigation, in the order of docs/development.md."""
    assert config.nav is not None
    config.nav.append({"API reference": [{f"pipeline.{room}": f"reference/{room}.md"} for room in _rooms()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are none of docs/."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source.endswith(".yaml"):
            text = f"# All settings\n\nThe file `{source}` as it comes.\n\n```yaml\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    for room, purpose in _rooms().items():
        files.append(File.generated(config, f"reference/{room}.md", content=_reference(room, purpose)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links of a file in the repository become links of its page; what is no page is named."""
    source = PAGES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {shown: made for made, shown in PAGES.items()}

    def replaced(found: re.Match[str]) -> str:
        image, text, target, heading = found.groups(default="")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / file).exists():
            return found[0]  # MkDocs says so
        if file.startswith("docs/") or file in pages:
            there = pages.get(file, file.removeprefix("docs/"))
            return f"{image}[{text}]({os.path.relpath(there, posixpath.dirname(page.file.src_uri) or '.')}{heading})"
        return f"`{file}`" if text.strip("/") in (file, posixpath.basename(file)) else f"{text} (`{file}`)"

    return markdown if page.file.src_uri.startswith("reference/") else _LINK.sub(replaced, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Fails where a page or a style would ask another host for something.

    Raises:
        PluginError: it names the file and the address.
    """
    site = Path(config.site_dir)
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        if found := _LOADED.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.relative_to(site)} asks another host: {found[0]}...")


def _rooms() -> dict[str, str]:
    """Room -> what it is for, from the ground up."""
    text = (ROOT / "docs/development.md").read_text(encoding="utf-8")
    table = text.split("## The rooms of")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)/` \| (.*) \|$", table, re.MULTILINE))


def _reference(room: str, purpose: str) -> str:
    """The public names of a room; of one that exports none, those of its modules."""
    folder = ROOT / "pipeline" / room
    exported = [f"{module}.{name}" for module, name in _exported(folder / "__init__.py")]
    if exported:
        parts = [f"::: pipeline.{room}\n    options: {{members: false}}\n"]
        headed = "options: {show_root_heading: true, show_root_toc_entry: true}"
        parts += [f"::: {name}\n    {headed}\n" for name in exported]
    else:
        modules = sorted(path.stem for path in folder.glob("[!_]*.py"))
        parts = [f"{purpose[:1].upper()}{purpose[1:]}.\n"]
        parts += [f"## {name}\n\n::: pipeline.{room}.{name}\n    options: {{heading_level: 3}}\n" for name in modules]
    return "\n".join([f"# pipeline.{room}\n", *parts])


def _exported(package: Path) -> list[tuple[str, str]]:
    """(module, name) of what a package exports, each by the module that it comes from."""
    tree = ast.parse(package.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
    return [(found.get(name, f"pipeline.{package.parent.name}"), name) for name in names]
