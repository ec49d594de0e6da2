"""Texts, labelled concepts and tasks."""

from interp.corpus.concepts import (
    Concept,
    ConceptSet,
    LabelledTexts,
    Split,
    data_folder,
    labelled,
    load_concepts,
    read_texts,
)
from interp.corpus.task_files import read_task
from interp.corpus.tasks import TASKS, Resolved, Task, resolve, task

__all__ = [
    "TASKS",
    "Concept",
    "ConceptSet",
    "LabelledTexts",
    "Resolved",
    "Split",
    "Task",
    "data_folder",
    "labelled",
    "load_concepts",
    "read_task",
    "read_texts",
    "resolve",
    "task",
]
