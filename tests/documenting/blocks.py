"""The fenced blocks of every page, and what is typed in those that show a terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/*.md")]))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$", re.MULTILINE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_REMARK = re.compile(r"\s+#\s(?P<text>.*)$")
_EXIT_CODE = re.compile(r"exit code (?P<code>\d+)")


@dataclass(frozen=True)
class Step:
    """One command, the remark behind it, and the lines that the page shows below it (none: it shows no output)."""

    command: str
    remark: str
    shown: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the remark says, else 0."""
        found = _EXIT_CODE.search(self.remark)
        return int(found["code"]) if found else 0


@dataclass(frozen=True)
class Block:
    """One block of a page, without its fences and its indent."""

    page: str
    line: int
    language: str
    label: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is typed in it; nothing if it shows no terminal."""
        if not self.text.startswith("$ "):
            return ()
        return tuple(_step(typed) for typed in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:])


def unquoted(command: str) -> str:
    """A command in which whatever stands in quotes is a row of letters, each where it was."""
    return _QUOTED.sub(lambda quoted: "q" * len(quoted[0]), command)


def _step(typed: str) -> Step:
    command, _, shown = re.sub(r" *\\\n +", " ", typed).partition("\n")
    remark = _REMARK.search(unquoted(command))
    return Step(
        command[: remark.start()] if remark else command.strip(),
        remark["text"] if remark else "",
        tuple(shown.rstrip("\n").split("\n")) if shown.strip() else (),
    )


def blocks_of(page: str, text: str) -> list[Block]:
    found = []
    for fence in _FENCE.finditer(text):
        language, _, label = fence["info"].partition(" ")
        body = re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        found.append(Block(page, text.count("\n", 0, fence.start()) + 1, language, label, body))
    return found


def read(path: Path) -> list[Block]:
    return blocks_of(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


def is_shown(output: str, shown: tuple[str, ...]) -> bool:
    """Whether an output is what a page shows; `…` stands for anything in a line, a line of it alone for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else f"{'.*?'.join(map(re.escape, line.rstrip().split('…')))} *\\n"
        for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in output.strip("\n").splitlines())) is not None
