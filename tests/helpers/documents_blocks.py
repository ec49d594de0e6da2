"""The fenced blocks of Markdown documents, with what a reader does not see: the code that stands
for what a reader brings.

What a block's language means:

- `python`: the blocks of a page run in order in one namespace, in a folder of their own.
- `output`: what the python block before it printed, word for word; numbers may differ by 5 % or
.02, as machines round differently.
- `text`: the same, as it came out once: texts that a model wrote, or features of one fit. It has as
many lines as what is printed now.
- `sh`, or none: shell commands (see `documents_shell`).
- `json`: is json, line by line if the whole is not.

A comment `<!-- setup: CODE -->` runs before the next python block of its page, or before the page's
shell commands.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
SETUP = re.compile(r"<!-- setup:(.*?)-->", re.DOTALL)
NUMBER = re.compile(r"[-−+]?\d[\d,]*\.?\d*|[-−+]?\.\d+")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, or a hidden setup (its language is `setup`): where its text begins, and the
    text.
    """

    path: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    """The blocks and setups of a document, in order.

    Raises:
        ValueError: a fence is not closed, or says more than a language.
    """
    text = path.read_text(encoding="utf-8")
    found = list(_fenced(path, text.splitlines()))
    visible = without_fences(text)
    for match in SETUP.finditer(visible):
        found.append(Block(path, visible[: match.start(1)].count("\n") + 1, "setup", match[1]))
    return sorted(found, key=lambda block: block.line)


def without_fences(text: str) -> str:
    """A document with as many lines, those of fenced blocks empty."""
    lines = text.splitlines()
    inside = {number for start, end in _spans(lines) for number in range(start, end + 1)}
    return "\n".join("" if number in inside else line for number, line in enumerate(lines))


def links_of(path: Path) -> list[str]:
    """The targets of a document's links and images; code and comments have none."""
    text = re.sub(
        r"<!--.*?-->", "", without_fences(path.read_text(encoding="utf-8")), flags=re.DOTALL
    )
    return [match["target"] for match in LINK.finditer(re.sub(r"`[^`\n]+`", "code", text))]


def anchors_of(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and the site both make them."""
    headings = re.findall(
        r"^#{1,6} +(.+?) *#*$", without_fences(path.read_text(encoding="utf-8")), flags=re.MULTILINE
    )
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


def same(shown: str, printed: str) -> bool:
    """Whether a document shows what was printed: the same words, and numbers within 5 % or .02."""
    if [words.split() for words in NUMBER.split(shown)] != [
        words.split() for words in NUMBER.split(printed)
    ]:
        return False
    pairs = zip(_numbers(shown), _numbers(printed), strict=True)
    return all(abs(one - other) <= max(0.02, 0.05 * abs(one)) for one, other in pairs)


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "").replace("−", "-")) for number in NUMBER.findall(text)]


def _spans(lines: list[str]) -> Iterator[tuple[int, int]]:
    """The first and last line of every fenced block, counted from 0."""
    start, ticks = None, ""
    for number, line in enumerate(lines):
        match = FENCE.match(line)
        if match is None:
            continue
        if start is None:
            start, ticks = number, match["ticks"]
        elif match["ticks"].startswith(ticks) and not match["info"].strip():
            yield start, number
            start = None
    if start is not None:
        raise ValueError(f"the block that begins on line {start + 1} is not closed")


def _fenced(path: Path, lines: list[str]) -> Iterator[Block]:
    for start, end in _spans(lines):
        match = FENCE.match(lines[start])
        assert match is not None
        info, indent = match["info"].split(), len(match["indent"])
        if len(info) > 1:
            raise ValueError(
                f"{path}:{start + 1} says {' '.join(info)!r}; a fence names a language and "
                "nothing "
                "else"
            )
        inner = [
            line[indent:] if not line[:indent].strip() else line for line in lines[start + 1 : end]
        ]
        yield Block(
            path, start + 2, info[0] if info else "sh", "".join(f"{line}\n" for line in inner)
        )
