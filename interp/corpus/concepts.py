"""Labelled concept sentences with fixed splits, shipped or a user's own, and files of texts."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import interp
from interp.core import InputError, UnavailableError
from interp.core.files import read_json
from interp.core.names import require_known

FIT_SHARE = 0.75
"""Share of a concept's first-style sentences to fit and choose on; all others are held out."""

Split = Literal["fit", "held_out"]


@dataclass(frozen=True)
class Concept:
    """Something a person can name, as sentences: `fit` to fit and choose on, `held_out` (new ones,
    half in another style) to report on.

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
    """Concepts, and sentences that belong to none of them (`neutral`, split like the concepts)."""

    concepts: tuple[Concept, ...]
    neutral: Concept

    def __getitem__(self, name: str) -> Concept:
        known = {concept.name: concept for concept in self.concepts}
        return known[require_known("concept", name, known)]

    def __len__(self) -> int:
        return len(self.concepts)

    def only(self, names: Sequence[str] | None) -> "ConceptSet":
        """The set restricted to some concepts (all, if `names` is None); neutral sentences stay.

        Raises:
            InputError: a concept does not exist.
        """
        if names is None:
            return self
        return ConceptSet(tuple(self[name] for name in names), self.neutral)

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

    A folder holds one json file per concept (`name`, `description`, `sentences`, `held_out`) and
    files `neutral*.json` (`sentences`). The last quarter of a concept's `sentences` is held out
    with its `held_out`, and so is every fourth neutral sentence.

    Raises:
        UnavailableError: the folder or a file cannot be read.
        InputError: a file lacks a key or its value has another type, or there are no concepts or no
            neutral sentences.

    Example:
        >>> concepts = interp.load_concepts()
        >>> concepts.names, concepts["sea"].fit[0]
    """
    source = Path(folder) if folder else data_folder() / "concepts"
    files = {path: read_json(path) for path in sorted(source.glob("*.json"))}
    neutral = [
        text
        for path, value in files.items()
        if _is_neutral(path)
        for text in _sentences(path, value, "sentences")
    ]
    concepts = tuple(
        _concept(path, value) for path, value in files.items() if not _is_neutral(path)
    )
    if not concepts or not neutral:
        raise InputError(
            f"{source} holds {len(concepts)} concepts and {len(neutral)} neutral sentences; both "
            "are needed"
        )
    # Every fourth neutral sentence is held out, so that both splits have all themes.
    fit = tuple(sentence for number, sentence in enumerate(neutral) if number % 4)
    about = "belongs to none of the concepts"
    return ConceptSet(concepts, Concept("neutral", about, fit, tuple(neutral[::4])))


def labelled(concepts: ConceptSet, split: Split) -> LabelledTexts:
    """All sentences of one split with their labels, concept by concept, neutral last.

    Raises:
        InputError: there is no such split.
    """
    require_known("split", split, get_args(Split))
    pairs: list[tuple[str, str | None]] = [
        (text, concept.name) for concept in concepts.concepts for text in getattr(concept, split)
    ]
    pairs += [(text, None) for text in getattr(concepts.neutral, split)]
    return LabelledTexts(tuple(text for text, _ in pairs), tuple(label for _, label in pairs))


def read_texts(path: str | Path) -> tuple[str, ...]:
    """The texts of a file, one per non-empty line; UTF-8, or UTF-16 with a byte order mark.

    Raises:
        UnavailableError: the file cannot be read.
        InputError: it is empty, or in another encoding (the message names the line).
    """
    source = Path(path)
    try:
        raw = source.read_bytes()
    except OSError as error:
        raise UnavailableError(f"cannot read {source}: {error.strerror}") from error
    # str.splitlines would also cut at characters inside texts (U+2028, form feeds).
    lines = io.StringIO(_decoded(source, raw), newline=None)
    texts = tuple(line.strip() for line in lines if line.strip())
    if not texts:
        raise InputError(f"{source} holds no text; give one text per line")
    return texts


def data_folder() -> Path:
    """The folder of the package's data: inside an installed package, beside it in a checkout."""
    package = Path(interp.__file__).parent
    inside = package / "data"
    return inside if inside.is_dir() else package.parent / "data"


def _decoded(source: Path, raw: bytes) -> str:
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        # The codec counts from after the byte order mark, as does the object of its error.
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{source} is not {encoding.removesuffix('-sig').upper()}: line {line} holds byte "
            f"0x{error.object[error.start]:02x}; convert it, e.g. `iconv -f latin1 -t utf-8`"
        ) from error


def _is_neutral(path: Path) -> bool:
    return path.stem.startswith("neutral")


def _concept(path: Path, value: object) -> Concept:
    sentences, held_out = _sentences(path, value, "sentences"), _sentences(path, value, "held_out")
    cut = max(1, round(len(sentences) * FIT_SHARE))
    name, description = _field(path, value, "name", str), _field(path, value, "description", str)
    return Concept(name, description, tuple(sentences[:cut]), (*sentences[cut:], *held_out))


def _sentences(path: Path, value: object, key: str) -> list[str]:
    found: list[str] = _field(path, value, key, list)
    wrong = [item for item in found if not isinstance(item, str) or not item.strip()]
    if wrong:
        raise InputError(f"{path}: {key!r} holds {wrong[0]!r}; every entry must be a sentence")
    return found


def _field(path: Path, value: object, key: str, kind: type) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get(key), kind):
        raise InputError(
            f"{path} has no {key!r} of type {kind.__name__}; a concept file holds name, "
            "description, sentences and held_out, a neutral file sentences"
        )
    return value[key]
