"""The words of language concepts' prompts and continuations, simple enough for a tiny model."""

ARTICLE_FRONTS = ("", "something", "a person", "usually", "the quality")
ARTICLE_OPENERS = (
    "it was", "this is", "he had", "she made", "they found", "the use of", "the act of making",
    "a part of", "shaped like", "found in", "to give", "having", "relating to", "resembling",
    "made by", "of or like", "the state of being", "in the manner of", "with", "as", "the end of",
    "by", "from", "into",
)  # fmt: skip

NUMBER_FRONTS = (
    "", "that", "when", "if", "because", "where", "as", "in which", "he said that", "so that",
    "until", "but",
)  # fmt: skip
PLURAL_SUBJECTS = (
    "they", "we", "the plants", "the leaves", "people", "flowers", "the animals", "the trees",
    "these", "the people", "plants", "the children",
)  # fmt: skip
SINGULAR_SUBJECTS = (
    "he", "she", "the plant", "the leaf", "the person", "the flower", "the animal", "the tree",
    "it", "the child", "one", "this",
)  # fmt: skip
PLURAL_VERBS = ("are", "have", "were")
SINGULAR_VERBS = ("is", "has", "was")

LIVING = (
    "herb", "small tree", "shrub", "large bird", "fish", "a plant", "a common tree", "wild animal",
    "perennial herb", "any of several plants",
)  # fmt: skip
PLACE_CUES = (
    "native to", "found in", "of tropical", "of western", "of eastern", "of northern",
    "of southern", "of central", "native to tropical", "found in southern", "common in eastern",
    "cultivated in",
)  # fmt: skip
OTHER_CUES = (
    "used for", "with long", "having small", "used to make", "without", "resembling a",
    "with white", "having a", "that is", "used by", "grown for its", "with large",
)  # fmt: skip
PLACES = (
    "America", "Europe", "Asia", "Africa", "Australia", "North", "South", "United", "India",
    "China", "Japan", "Mexico", "California", "England", "France", "Germany", "Canada", "Brazil",
    "Eurasia",
)  # fmt: skip
NOUNS = (
    "plant", "person", "water", "body", "people", "animal", "tree", "food", "money", "flowers",
    "leaves", "wood", "fruit", "fish", "trees", "plants", "animals", "skin", "blood", "house",
    "work", "time", "play", "light",
)  # fmt: skip
