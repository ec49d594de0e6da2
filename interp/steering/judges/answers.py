"""Answers kept on disk under the hash of what was asked, so that nothing is asked and paid for
twice.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from interp.core import UnavailableError
from interp.core.files import read_json, require_writable, write_json


@dataclass(frozen=True)
class AnswerStore:
    """A folder with one json file per answer; each is written whole or not at all, so a killed run
    keeps all answers it had.

    The key is the sha256 of the model's name, the version of the questions and the question; the
    endpoint's address is no part of it.

    Raises:
        InputError: `folder` is a file.
        UnavailableError: it cannot be written.
    """

    folder: Path
    model: str
    version: str

    def __post_init__(self) -> None:
        require_writable(self.folder)

    def get(self, question: str) -> str | None:
        """The answer to a question; None if there is none that can be read."""
        path = self._path(question)
        if not path.is_file():
            return None
        try:
            value = read_json(path)
        except UnavailableError:
            # Asking again costs one request and loses nothing.
            return None
        answer = value.get("answer") if isinstance(value, dict) else None
        return answer if isinstance(answer, str) else None

    def put(self, question: str, answer: str) -> None:
        """Keep an answer.

        Raises:
            UnavailableError: the disk is full or the folder cannot be written.
        """
        write_json(
            self._path(question), {"model": self.model, "questions": self.version, "answer": answer}
        )

    def _path(self, question: str) -> Path:
        key = hashlib.sha256(json.dumps([self.model, self.version, question]).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"
