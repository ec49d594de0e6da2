"""Tasks: what makes an answer right can be read off every prompt, and off its counterfactual."""

import re
from typing import Any

import pytest
import tiny
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from interp.core import InputError
from interp.corpus.task_words import RELATIONS
from interp.corpus.tasks import (
    TASKS,
    Task,
    agreement,
    greater_than,
    indirect_object,
    induction,
    resolve,
    task,
)

SIZE = 40


def word_tokens(found: Task, *, bos: bool = False) -> Any:
    """A tokenizer that knows all words of a task, splits digits, and may put a start token
    first.
    """
    texts = (
        *found.prompts,
        *found.counterfactuals,
        *(answer for side in (found.right, found.wrong) for own in side for answer in own),
    )
    pieces = sorted({piece for text in texts for piece in re.findall(r"\d|[^\W\d]+|[^\w\s]", text)})
    core = Tokenizer(
        models.WordLevel(
            {piece: number for number, piece in enumerate(["<s>", "<unk>", *pieces])},
            unk_token="<unk>",
        )
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", unk_token="<unk>")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_the_receiver_is_named_once_and_the_counterfactual_turns_it_round() -> None:
    found = indirect_object(SIZE, 0)
    for prompt, other, (right,), (wrong,) in zip(
        found.prompts, found.counterfactuals, found.right, found.wrong, strict=True
    ):
        receiver, giver = right.strip(), wrong.strip()
        assert (words(prompt).count(receiver), words(prompt).count(giver)) == (1, 2)
        assert (words(other).count(receiver), words(other).count(giver)) == (2, 1)
        changed = [
            pair for pair in zip(words(prompt), words(other), strict=True) if pair[0] != pair[1]
        ]
        assert changed == [(giver, receiver)]
    # Which of the two comes first decides nothing.
    first = [
        prompt.index(right.strip()) < prompt.index(wrong.strip())
        for prompt, (right,), (wrong,) in zip(found.prompts, found.right, found.wrong, strict=True)
    ]
    assert 0.25 < sum(first) / SIZE < 0.75


def test_other_names_repeat_nobody() -> None:
    found = indirect_object(SIZE, 0, counterfactual="others")
    for prompt, other, (right,), (wrong,) in zip(
        found.prompts, found.counterfactuals, found.right, found.wrong, strict=True
    ):
        changed = [
            pair for pair in zip(words(prompt), words(other), strict=True) if pair[0] != pair[1]
        ]
        assert {old for old, _ in changed} == {right.strip(), wrong.strip()}
        new = {word for _, word in changed}
        assert len(changed) == len(new) == 3
        assert not new & set(words(prompt))


def test_spans_end_after_they_began() -> None:
    found = greater_than(SIZE, 0)
    for prompt, other, right, wrong in zip(
        found.prompts, found.counterfactuals, found.right, found.wrong, strict=True
    ):
        start, century = (int(number) for number in re.findall(r"\d+", prompt))
        assert {digit for digit in range(10) if 100 * century + 10 * digit > start} == {
            int(digit) for digit in right
        }
        assert {digit for digit in range(10) if 100 * century + 10 * digit + 9 < start} == {
            int(digit) for digit in wrong
        }
        assert re.findall(r"\d+", other) == [f"{century}01", str(century)]
        assert re.sub(r"\d+", "", prompt) == re.sub(r"\d+", "", other)


def test_verbs_agree_with_the_subject_past_the_other_number() -> None:
    found = agreement(SIZE, 0)
    for prompt, other, right, wrong in zip(
        found.prompts, found.counterfactuals, found.right, found.wrong, strict=True
    ):
        own, between = words(prompt)[1], words(prompt)[-1]
        assert own.endswith("s") != between.endswith("s")
        assert (" are" in right) == own.endswith("s") == (" is" in wrong)
        changed = [
            pair for pair in zip(words(prompt), words(other), strict=True) if pair[0] != pair[1]
        ]
        assert [sorted(pair, key=len) for pair in changed] == [
            sorted((own.removesuffix("s"), own.removesuffix("s") + "s"), key=len)
        ]
    assert 0.25 < sum(" are" in right for right in found.right) / SIZE < 0.75


def test_induction_is_found_by_looking_back() -> None:
    found = induction(SIZE, 0)
    for prompt, other, (right,), (wrong,) in zip(
        found.prompts, found.counterfactuals, found.right, found.wrong, strict=True
    ):
        own, broken = words(prompt), words(other)
        assert [own[place + 1] for place, word in enumerate(own[:-1]) if word == own[-1]] == [
            right.strip()
        ]
        assert own.count(wrong.strip()) == 1
        assert wrong != right
        assert len(own) == len(broken)
        assert broken.count(own[-1]) == 1
        assert not {right.strip(), wrong.strip()} & set(broken)


@pytest.mark.parametrize("name", TASKS)
def test_a_seed_gives_the_same_different_examples(name: str) -> None:
    found = task(name, SIZE, 3)
    assert len(set(found.prompts)) == len(found) == SIZE
    assert task(name, SIZE, 3) == found
    assert task(name, SIZE, 4).prompts != found.prompts
    assert found.take([2, 0]).prompts == (found.prompts[2], found.prompts[0])


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_resolved_ids_are_the_answers(name: str, bos: bool) -> None:
    found = task(name, SIZE, 0)
    tokenizer = word_tokens(found, bos=bos)
    ready = resolve(found, tokenizer)
    assert ready.task == found
    assert ready.dropped == ()
    for answers, ids in ((found.right, ready.right), (found.wrong, ready.wrong)):
        for own, row in zip(answers, ids.tolist(), strict=True):
            kept = [token for token in row if token >= 0]
            assert tokenizer.convert_ids_to_tokens(kept) == [answer.strip() for answer in own]
            assert row[len(kept) :] == [-1] * (len(row) - len(kept))


def hand_made(
    counterfactuals: tuple[str, ...],
    right: tuple[tuple[str, ...], ...],
    wrong: tuple[tuple[str, ...], ...],
) -> Task:
    prompts = ("The sea was calm and the ships", "Stir the soup slowly")
    return Task(
        name="hand-made",
        behaviour="",
        source="",
        changed="",
        measure="logit difference",
        prompts=prompts,
        counterfactuals=counterfactuals,
        right=right,
        wrong=wrong,
        seed=0,
    )


def test_misfits_are_refused_or_dropped_and_named() -> None:
    tokenizer = tiny.tokenizer()
    longer = hand_made(
        ("The sea was calm and the road ships", "Stir the soup twice!"),
        ((" l",), (" t",)),
        ((" s",), (" a",)),
    )
    with pytest.raises(
        InputError, match=r"hand-made 0: .*number of tokens, 14 and 17: The .* // .*ro . ad"
    ):
        resolve(longer, tokenizer)
    same = ("The sea was calm and the ships", "Stir the soup slowly")
    several = hand_made(same, ((" l",), (" unheard of",)), ((" s",), (" a",)))
    with pytest.raises(InputError, match=r"hand-made 1: the answer ' unheard of' is not one token"):
        resolve(several, tokenizer)
    left = resolve(several, tokenizer, misfits="drop")
    assert left.task.prompts == several.prompts[:1]
    assert [line.split(":")[0] for line in left.dropped] == ["hand-made 1"]
    with pytest.raises(InputError, match=r"hand-made 0: the token ' s' is both right and wrong"):
        resolve(hand_made(same, ((" s",), (" t",)), ((" s",), (" a",))), tokenizer)
    nothing = hand_made(same, ((" unheard of",), (" unheard of",)), ((" s",), (" a",)))
    with pytest.raises(InputError, match="none of the 2 examples of hand-made fits"):
        resolve(nothing, tokenizer, misfits="drop")


def test_wrong_arguments_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError, match="unknown task 'indirect object'; nearest: indirect-object"
    ):
        task("indirect object")
    with pytest.raises(InputError, match="0 examples of agreement"):
        task("agreement", 0)
    monkeypatch.setattr("interp.corpus.tasks.NOUNS", ("key", "cup"))
    assert len(task("agreement", 20)) == 2 * 2 * len(RELATIONS)
    with pytest.raises(
        InputError, match=r"21 different examples of agreement were asked for, 20 were found"
    ):
        task("agreement", 21)
    with pytest.raises(InputError, match="length is 60; give 5 to"):
        induction(2, 0, length=60)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_the_default_model_can_do_the_tasks(name: str, default_model: Any) -> None:
    from interp.causal.wiring.examples import Examples
    from interp.causal.wiring.metrics import accuracy, task_metric
    from interp.causal.wiring.residual import ResidualWiring

    ready = resolve(task(name, 24), default_model.tokenizer)
    examples = Examples(
        ResidualWiring(default_model), ready.task.prompts, ready.task.counterfactuals, batch_size=8
    )
    score = accuracy(task_metric(ready), examples.wiring, examples)
    assert score.value >= 0.9
    assert score.control is not None
    assert score.control < 0.75
