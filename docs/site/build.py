"""From pages to the site: the pages are laid out in build/docs, and the generator writes build/site.

The site asks for nothing from elsewhere: no font, script or picture. The one script that the generator takes from the
network lets the search work in pages opened from a folder; it is replaced by the copy beside this file.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from docs.site.pages import pages

CONFIG: Final = "mkdocs.yml"
SOURCE: Final = Path("build/docs")
SITE: Final = Path("build/site")
_STYLE: Final = Path(__file__).with_name("site.css")
# iframe-worker 1.0.4 (MIT, Martin Donath): its shim/index.js as it is on npm.
_SHIM: Final = Path(__file__).with_name("iframe-worker.js")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_FOUND_WRONG: Final = "Aborted because --strict flag is set"
_SHIM_URL: Final = "https://unpkg.com/iframe-worker/shim"


def build(root: Path) -> int:
    """Builds the site of a checkout anew, with warnings as errors. Gives the exit code of the generator."""
    lay_out(root)
    shutil.rmtree(root / SITE, ignore_errors=True)
    # Without its cache, so that a build depends on the pages alone.
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", CONFIG]
    told = subprocess.run(command, cwd=root, check=False, stderr=subprocess.PIPE, text=True)  # noqa: S603  our own
    # A traceback ends every build that finds something wrong: what was found says more.
    said = told.stderr.partition("Traceback")[0] if _FOUND_WRONG in told.stderr else told.stderr
    sys.stderr.write(_COLOUR.sub("", said))
    if told.returncode == 0:
        bring_scripts(root / SITE)
    return told.returncode


def lay_out(root: Path) -> None:
    """Writes the source of the site."""
    shutil.rmtree(root / SOURCE, ignore_errors=True)
    for place, content in pages(root).items():
        path = root / SOURCE / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.copy(_STYLE, root / SOURCE)


def bring_scripts(site: Path) -> None:
    """Puts the copy of the script in the place of the one on the network, in every page."""
    shutil.copy(_SHIM, site / "assets" / _SHIM.name)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        ours = os.path.relpath(site / "assets" / _SHIM.name, page.parent)
        page.write_text(text.replace(_SHIM_URL, ours), encoding="utf-8")
