"""Texts and labelled concepts."""

from interp.corpus.concepts import Concept, ConceptSet, LabelledTexts, Split, data_folder, labelled, load_concepts, read_texts

__all__ = ["Concept", "ConceptSet", "LabelledTexts", "Split", "data_folder", "labelled", "load_concepts", "read_texts"]
