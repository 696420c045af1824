"""Hooks of the documentation site (mkdocs.yml): the top-level documents as pages, and links that leave `docs/`.

The documents are written to be read in the repository as well, where a link may lead to any file. On the site, links to
documents stay links, and a link to another file becomes its path.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT_ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# A link without a picture in its text; pictures themselves lie in docs/.
LINK = re.compile(r"(?<!!)\[(?P<text>[^\[\]]*)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The documents of the repository's root become pages."""
    for source, page in TOP_LEVEL.items():
        text = (PROJECT_ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """`markdown` with links to files that are not on the site as paths."""
    folder = posixpath.dirname(page.file.src_uri)

    def shown(link: re.Match) -> str:
        text, target = link["text"], link["target"]
        if re.match(r"[a-z]+:|#", target):
            return link[0]
        path, _, anchor = target.partition("#")
        uri = posixpath.normpath(posixpath.join(folder, path))
        if name := TOP_LEVEL.get(uri.removeprefix("../")):
            return f"[{text}]({posixpath.relpath(name, folder)}{'#' + anchor if anchor else ''})"
        if files.get_file_from_path(uri) is not None:
            return link[0]
        place = posixpath.normpath(posixpath.join("docs", uri))
        return text if place in text else f"{text} (`{place}`)"

    return LINK.sub(shown, markdown)
