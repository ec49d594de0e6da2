"""The labelled concept sentences that ship with the package, and their fixed splits."""

import json
from dataclasses import dataclass
from pathlib import Path

import interp
from interp.core import InputError, UnavailableError
from interp.core.files import read_json
from interp.core.names import require_known

FIT_SENTENCES = 30
"""Of a concept's 40 sentences in the first style, how many serve for fitting and choosing; the rest, with the held-out style, for reporting."""


@dataclass(frozen=True)
class Concept:
    """Something a person can name, as sentences: `fit` to fit and choose on, `held_out` to report on (new sentences, half in another style).

    Example:
        >>> cooking = interp.corpus.load_concepts()["cooking"]
        >>> len(cooking.fit), len(cooking.held_out)
        (30, 20)
    """

    name: str
    description: str
    fit: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class ConceptSet:
    """Concepts beside sentences that belong to none of them (`neutral`, split like the concepts)."""

    concepts: tuple[Concept, ...]
    neutral: Concept

    def __getitem__(self, name: str) -> Concept:
        known = {concept.name: concept for concept in self.concepts}
        return known[require_known("concept", name, known)]

    def __len__(self) -> int:
        return len(self.concepts)

    @property
    def names(self) -> tuple[str, ...]:
        """The concepts' names, in order."""
        return tuple(concept.name for concept in self.concepts)


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the concept of each (None: neutral)."""

    texts: tuple[str, ...]
    labels: tuple[str | None, ...]


def load_concepts(folder: str | Path | None = None) -> ConceptSet:
    """The concepts that ship with the package, or those of a folder laid out the same way.

    A folder holds one json file per concept (`name`, `description`, `sentences`, `held_out`) and files `neutral*.json` (`sentences`).

    Raises:
        UnavailableError: the folder or a file cannot be read.
        InputError: a file lacks a key, or there are no concepts or no neutral sentences.
    """
    source = Path(folder) if folder else data_folder() / "concepts"
    files = {path: read_json(path) for path in sorted(source.glob("*.json"))}
    neutral = [
        sentence for path, value in files.items() if path.stem.startswith("neutral") for sentence in _field(path, value, "sentences")
    ]
    concepts = tuple(_concept(path, value) for path, value in files.items() if not path.stem.startswith("neutral"))
    if not concepts or not neutral:
        raise InputError(f"{source} holds {len(concepts)} concepts and {len(neutral)} neutral sentences; both are needed")
    # Every fourth neutral sentence reports, so that both splits hold all themes.
    fit = tuple(sentence for number, sentence in enumerate(neutral) if number % 4)
    return ConceptSet(concepts, Concept("neutral", "belongs to none of the concepts", fit, tuple(neutral[::4])))


def labelled(concepts: ConceptSet, split: str) -> LabelledTexts:
    """All sentences of one split (`fit` or `held_out`) with their labels, concept by concept, neutral last."""
    require_known("split", split, ("fit", "held_out"))
    pairs: list[tuple[str, str | None]] = [(text, concept.name) for concept in concepts.concepts for text in getattr(concept, split)]
    pairs += [(text, None) for text in getattr(concepts.neutral, split)]
    return LabelledTexts(tuple(text for text, _ in pairs), tuple(label for _, label in pairs))


def read_texts(path: str | Path) -> tuple[str, ...]:
    """Texts of a file: one per non-empty line; UTF-8, or UTF-16 with its mark.

    Raises:
        UnavailableError: the file cannot be read.
        InputError: it is empty, or in another encoding (the message names the line).
    """
    source = Path(path)
    try:
        raw = source.read_bytes()
    except OSError as error:
        raise UnavailableError(f"cannot read {source}: {error.strerror}") from error
    texts = tuple(line.strip() for line in _decoded(source, raw).splitlines() if line.strip())
    if not texts:
        raise InputError(f"{source} holds no text; give one text per line")
    return texts


def data_folder() -> Path:
    """Where the package's data lies: inside an installed package, or beside it in a checkout."""
    package = Path(interp.__file__).parent
    inside = package / "data"
    return inside if inside.is_dir() else package.parent / "data"


def _decoded(source: Path, raw: bytes) -> str:
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            f"{source} is not UTF-8: line {line} holds byte 0x{raw[error.start]:02x}; convert it, e.g. `iconv -f latin1 -t utf-8`"
        ) from error


def _concept(path: Path, value: object) -> Concept:
    sentences, held_out = _field(path, value, "sentences"), _field(path, value, "held_out")
    cut = max(1, round(len(sentences) * FIT_SENTENCES / 40))
    name, description = str(_field(path, value, "name")), str(_field(path, value, "description"))
    return Concept(name, description, tuple(sentences[:cut]), (*sentences[cut:], *held_out))


def _field(path: Path, value: object, key: str) -> list[str]:
    if not isinstance(value, dict) or key not in value:
        raise InputError(
            f"{path} has no {key!r}; a concept file holds name, description, sentences and held_out ({json.dumps(value)[:40]}…)"
        )
    found: list[str] = value[key]
    return found
