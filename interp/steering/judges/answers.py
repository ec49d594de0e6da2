"""Answers stored on disk under the question's hash, so that nothing is paid for twice."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from interp.core import UnavailableError
from interp.core.files import read_json, require_writable, write_json


@dataclass(frozen=True)
class AnswerStore:
    """A folder with one json file per answer, written atomically: a killed run keeps its answers.

    The key is the sha256 of the model's name, the questions' version and the question, without the
    endpoint's address.

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
        """The stored answer to a question; None if there is no readable one."""
        path = self._path(question)
        if not path.is_file():
            return None
        try:
            value = read_json(path)
        except UnavailableError:
            # Asking again costs only one request.
            return None
        answer = value.get("answer") if isinstance(value, dict) else None
        return answer if isinstance(answer, str) else None

    def put(self, question: str, answer: str) -> None:
        """Store an answer.

        Raises:
            UnavailableError: the disk is full or the folder cannot be written.
        """
        write_json(
            self._path(question), {"model": self.model, "questions": self.version, "answer": answer}
        )

    def _path(self, question: str) -> Path:
        key = hashlib.sha256(json.dumps([self.model, self.version, question]).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"
