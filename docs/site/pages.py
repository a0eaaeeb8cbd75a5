"""The pages as the generator reads them. They are written for the repository, where most people read them first.

Two things are put otherwise on the way, and nothing else:

- A link from `docs/` to another place of the repository leads to a copy of that file, which stands below
  `repository/` in the site; of a folder, to its README.md.
- A fence's second word is dropped (```` ```json leaf-a ````). By it tests find a worked example; the generator knows
  options there and would take the block for text.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

DOCS: Final = PurePosixPath("docs")
ELSEWHERE: Final = PurePosixPath("repository")
_FENCED: Final = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}).*?^(?P=indent)(?P=fence)$", re.DOTALL | re.MULTILINE)
_LABEL: Final = re.compile(r"\A(?P<kept> *`{3,}\w+) [\w-]+$", re.MULTILINE)
_LINK: Final = re.compile(r"(?<=\]\()(?P<target>[^)#\s:]+)(?=[)#])")


def pages(root: Path) -> dict[PurePosixPath, bytes]:
    """Every file of the site's source by its place there: the pages, what they show, and what they lead to.

    Raises FileNotFoundError for a link that leads nowhere.
    """
    waiting = [DOCS / path.relative_to(root / DOCS).as_posix() for path in sorted((root / DOCS).rglob("*.md"))]
    found: dict[PurePosixPath, bytes] = {}
    for path in waiting:  # which grows while it is gone through
        content = (root / path).read_bytes()
        if path.suffix == ".md":
            text = content.decode("utf-8")
            waiting += [target for target in linked(root, path, text) if target not in waiting]
            content = staged(root, path, text).encode()
        found[place(path)] = content
    return found


def place(path: PurePosixPath) -> PurePosixPath:
    """Where a file of the repository stands in the source of the site."""
    return path.relative_to(DOCS) if path.is_relative_to(DOCS) else ELSEWHERE / path


def linked(root: Path, page: PurePosixPath, text: str) -> Iterator[PurePosixPath]:
    """The files of the repository that a page links to or shows."""
    for prose, is_fenced in _parts(text):
        if not is_fenced:
            yield from (_resolved(root, page, found["target"]) for found in _LINK.finditer(prose))


def staged(root: Path, page: PurePosixPath, text: str) -> str:
    """A page as the generator reads it."""

    def link(found: re.Match[str]) -> str:
        return os.path.relpath(place(_resolved(root, page, found["target"])), place(page).parent)

    return "".join(
        _LABEL.sub(r"\g<kept>", part) if is_fenced else _LINK.sub(link, part) for part, is_fenced in _parts(text)
    )


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """A page cut into what stands in fences (true) and what does not."""
    end = 0
    for found in _FENCED.finditer(text):
        yield text[end : found.start()], False
        yield found[0], True
        end = found.end()
    yield text[end:], False


def _resolved(root: Path, page: PurePosixPath, target: str) -> PurePosixPath:
    path = PurePosixPath(os.path.normpath(page.parent / target))
    if (root / path).is_dir():
        path /= "README.md"
    if not (root / path).is_file():
        raise FileNotFoundError(f"{page} links to {target}, which is not there")
    return path
