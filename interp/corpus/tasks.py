"""Tasks whose circuits are studied: prompts, counterfactuals, and right and wrong answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from interp.core import InputError
from interp.core.names import require_known
from interp.corpus.task_words import (
    EVENTS,
    GIVING,
    LASTING,
    NAMES,
    NOUNS,
    PLACES,
    PLURAL,
    RELATIONS,
    SINGULAR,
    THINGS,
    WORDS,
)

TRIES = 50
"""Draws per example before there are taken to be too few different ones."""

NO_ANSWER = -1
"""Pads the rows of examples with fewer answers than others."""

Measure = Literal["logit difference", "probability difference"]
Names = Literal["swapped", "others"]
Misfits = Literal["refuse", "drop"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something a language model does after a prompt, example by example.

    After `prompts[i]` any of `right[i]` continues the text correctly and any of `wrong[i]` does
    not; answers have their leading space. `counterfactuals[i]` is the same text, token by token,
    with what decides the answer changed as `changed` says. `behaviour` says what the model does,
    `source` who studied it, `measure` how it is usually measured.
    """

    name: str
    behaviour: str
    source: str
    changed: str
    measure: Measure
    prompts: tuple[str, ...]
    counterfactuals: tuple[str, ...]
    right: tuple[tuple[str, ...], ...]
    wrong: tuple[tuple[str, ...], ...]
    seed: int

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: Sequence[int]) -> "Task":
        """Some of the examples, in the given order."""
        return replace(
            self,
            prompts=tuple(self.prompts[row] for row in rows),
            counterfactuals=tuple(self.counterfactuals[row] for row in rows),
            right=tuple(self.right[row] for row in rows),
            wrong=tuple(self.wrong[row] for row in rows),
        )


@dataclass(frozen=True)
class Resolved:
    """A task for one tokenizer: token ids of the answers, rows padded with -1.

    `dropped` holds one line for every example that did not fit and is left out of `task`.
    """

    task: Task
    right: Int[Tensor, "example k"]
    wrong: Int[Tensor, "example l"]
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.task)


class _Example(NamedTuple):
    prompt: str
    counterfactual: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def task(name: str, n: int = 32, seed: int = 0) -> Task:
    """A task by its name: `indirect-object`, `greater-than`, `agreement` or `induction`.

    Raises:
        InputError: there is no such task, or there are fewer different examples of it than `n`.

    Example:
        >>> found = task("indirect-object", n=32)
        >>> found.prompts[0], found.right[0], found.wrong[0]
    """
    return TASKS[require_known("task", name, TASKS)](n, seed)


def indirect_object(n: int, seed: int, *, counterfactual: Names = "swapped") -> Task:
    """Two people are named, one of them again; whoever was named once receives the object.

    The counterfactual changes only names: with `swapped` the second mention is of the other person,
    so that the wrong name becomes right; with `others` it names three other people, each once.

    Raises:
        InputError: an option does not exist, or there are fewer different examples than `n`.

    Source: Wang et al. 2023; the two kinds of counterfactual after Mueller et al. 2025 (MIB).
    Sentences are ours.
    """
    require_known("counterfactual", counterfactual, get_args(Names))

    def draw(random: Random) -> _Example:
        one, two, *others = random.sample(NAMES, 5)
        frame = (
            random.choice(GIVING)
            .replace("PLACE", random.choice(PLACES))
            .replace("THING", random.choice(THINGS))
        )
        giver, receiver = random.sample((one, two), 2)
        again = (one, two, receiver) if counterfactual == "swapped" else tuple(others)
        return _Example(
            frame.format(one, two, giver), frame.format(*again), (f" {receiver}",), (f" {giver}",)
        )

    changed = {
        "swapped": "the second mention is of the other person",
        "others": "three other people are named, each once",
    }
    return _built(
        draw,
        n,
        seed,
        name="indirect-object",
        behaviour="names the person who has been mentioned once as the one who receives",
        source="Wang et al. 2023",
        changed=changed[counterfactual],
    )


def greater_than(n: int, seed: int) -> Task:
    """Something lasts from one year to another of the same century: the end comes after the start.

    The prompt ends before the tens digit of the end; right are the digits above that of the start,
    wrong those below. Digits must be single tokens. The counterfactual's start year ends in 01, so
    that no digit is too small.

    Raises:
        InputError: there are fewer different examples than `n`.

    Source: Hanna, Liu & Variengien 2023, there with two digits in a token. Sentences are ours.
    """

    def draw(random: Random) -> _Example:
        century, tens, ones = random.randint(11, 17), random.randint(2, 7), random.randint(2, 9)
        frame = random.choice(LASTING).replace("EVENT", random.choice(EVENTS))
        return _Example(
            frame.format(f"{century}{tens}{ones}", century),
            frame.format(f"{century}01", century),
            right=tuple(map(str, range(tens + 1, 10))),
            wrong=tuple(map(str, range(tens))),
        )

    return _built(
        draw,
        n,
        seed,
        name="greater-than",
        behaviour="lets a span of years end after it began",
        source="Hanna, Liu & Variengien 2023",
        changed="the start year ends in 01",
        measure="probability difference",
    )


def agreement(n: int, seed: int) -> Task:
    """The verb agrees with its subject, not with a noun of the other number between them.

    The counterfactual changes only the number of the subject.

    Raises:
        InputError: there are fewer different examples than `n`.

    Source: Linzen, Dupoux & Goldberg 2016; as a circuit Marks et al. 2025. Sentences are ours.
    """

    def draw(random: Random) -> _Example:
        subject, distractor = random.sample(NOUNS, 2)
        relation, plural = random.choice(RELATIONS), random.random() < 0.5
        if plural:
            rest = f"{relation} the {distractor}"
            return _Example(f"The {subject}s {rest}", f"The {subject} {rest}", PLURAL, SINGULAR)
        rest = f"{relation} the {distractor}s"
        return _Example(f"The {subject} {rest}", f"The {subject}s {rest}", SINGULAR, PLURAL)

    return _built(
        draw,
        n,
        seed,
        name="agreement",
        behaviour="gives the verb the number of its subject past a noun of the other number",
        source="Linzen, Dupoux & Goldberg 2016",
        changed="the subject has the other number",
    )


def induction(n: int, seed: int, *, length: int = 10) -> Task:
    """A list of random words starts again; what came next before comes next.

    The list has `length` words, and its repetition stops somewhere in the middle. Wrong is another
    word of the list. In the counterfactual the first list has other words, so that nothing is
    repeated.

    Raises:
        InputError: `length` is not between 5 and a third of all words, or there are fewer different
            examples than `n`.

    Source: Elhage et al. 2021; Olsson et al. 2022.
    """
    if not 5 <= length <= len(WORDS) // 3:
        raise InputError(
            f"length is {length}; give 5 to {len(WORDS) // 3}, so that there are words to take the "
            "place of the repeated ones"
        )

    def draw(random: Random) -> _Example:
        drawn = random.sample(WORDS, 2 * length)
        own, others = drawn[:length], drawn[length:]
        repeated = random.randint(length // 2, length - 2)
        wrong = random.choice(own[repeated + 1 :])
        again = own[:repeated]
        return _Example(
            f"List: {' '.join(own + again)}",
            f"List: {' '.join(others + again)}",
            (f" {own[repeated]}",),
            (f" {wrong}",),
        )

    return _built(
        draw,
        n,
        seed,
        name="induction",
        behaviour="continues a repeated list of words as it went before",
        source="Olsson et al. 2022",
        changed="the first list consists of other words",
    )


TASKS: Mapping[str, Callable[[int, int], Task]] = MappingProxyType(
    {
        "indirect-object": indirect_object,
        "greater-than": greater_than,
        "agreement": agreement,
        "induction": induction,
    }
)
"""The tasks by name."""


def resolve(found: Task, tokenizer: Any, *, misfits: Misfits = "refuse") -> Resolved:
    """Token ids of a task's answers for one tokenizer (of transformers), its examples checked.

    An example fits if its prompt and counterfactual have the same number of tokens and every answer
    adds exactly one token to the prompt. Misfits are refused, or dropped and listed.

    Raises:
        InputError: an example does not fit (the message shows both tokenisations), or none does.

    Cost: one tokenisation of every prompt, counterfactual, and prompt with each of its answers.

    Example:
        >>> ready = resolve(task("agreement", n=32), model.tokenizer)
        >>> ready.right.shape, len(ready.dropped)
    """
    require_known("misfits", misfits, get_args(Misfits))
    rows, right, wrong, dropped = [], [], [], []
    for row in range(len(found)):
        try:
            answers = _answers(found, row, tokenizer)
        except InputError as error:
            if misfits == "refuse":
                raise
            dropped.append(str(error))
        else:
            rows.append(row)
            right.append(answers[0])
            wrong.append(answers[1])
    if not rows:
        raise InputError(
            f"none of the {len(found)} examples of {found.name} fits this tokenizer; the first: "
            f"{dropped[0]}"
        )
    return Resolved(found.take(rows), _filled(right), _filled(wrong), tuple(dropped))


def _answers(found: Task, row: int, tokenizer: Any) -> tuple[list[int], list[int]]:
    prompt = found.prompts[row]
    own = tokenizer(prompt)["input_ids"]
    theirs = tokenizer(found.counterfactuals[row])["input_ids"]
    name = f"{found.name} {row}"
    if len(own) != len(theirs):
        raise InputError(
            f"{name}: prompt and counterfactual differ in their number of tokens, "
            f"{len(own)} and {len(theirs)}: {_tokens_of(own, tokenizer)} // "
            f"{_tokens_of(theirs, tokenizer)}; drop such pairs with misfits='drop'"
        )
    right = [_added(prompt, own, answer, tokenizer, name) for answer in found.right[row]]
    wrong = [_added(prompt, own, answer, tokenizer, name) for answer in found.wrong[row]]
    if shared := set(right) & set(wrong):
        raise InputError(
            f"{name}: the token {tokenizer.decode([min(shared)])!r} is both right and wrong after "
            f"{prompt!r}; give other answers, or drop such examples with misfits='drop'"
        )
    return right, wrong


def _added(prompt: str, ids: list[int], answer: str, tokenizer: Any, name: str) -> int:
    """The token that an answer adds to its prompt."""
    both = tokenizer(prompt + answer)["input_ids"]
    if len(both) != len(ids) + 1 or both[:-1] != ids:
        raise InputError(
            f"{name}: the answer {answer!r} is not one token after its prompt: "
            f"{_tokens_of(ids, tokenizer)} // {_tokens_of(both, tokenizer)}; "
            "drop such examples with misfits='drop'"
        )
    return int(both[-1])


def _tokens_of(ids: list[int], tokenizer: Any) -> str:
    return " | ".join(tokenizer.decode([token]) for token in ids)


def _filled(rows: list[list[int]]) -> Int[Tensor, "example k"]:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[NO_ANSWER] * (width - len(row))] for row in rows])


def _built(
    draw: Callable[[Random], _Example],
    n: int,
    seed: int,
    *,
    name: str,
    behaviour: str,
    source: str,
    changed: str,
    measure: Measure = "logit difference",
) -> Task:
    """A task of `n` different examples."""
    if n < 1:
        raise InputError(f"{n} examples of {name} were asked for; ask for at least 1")
    random = Random(seed)
    drawn: dict[str, _Example] = {}
    for _ in range(TRIES * n):
        example = draw(random)
        drawn.setdefault(example.prompt, example)
        if len(drawn) == n:
            break
    else:
        raise InputError(
            f"{n} different examples of {name} were asked for, {len(drawn)} were found; ask for "
            "fewer"
        )
    prompts, counterfactuals, right, wrong = zip(*drawn.values(), strict=True)
    return Task(
        name=name,
        behaviour=behaviour,
        source=source,
        changed=changed,
        measure=measure,
        prompts=prompts,
        counterfactuals=counterfactuals,
        right=right,
        wrong=wrong,
        seed=seed,
    )
