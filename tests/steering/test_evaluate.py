"""evaluate_steering() on a model that provably says "sea" when its direction is added: it wins, a
random direction does not.
"""

import numpy as np
import pytest
import torch

import interp.steering.evaluate
from interp.core import InputError, Score
from interp.models.adapters.decoding import Sampling
from interp.steering import Judgement, Protocol, Reliability, Target, evaluate_steering

SITE = "L1.resid_post"
PROTOCOL = Protocol(
    strengths=(0.3, 1.0),
    selection_prompts=("a ship", "word3 of"),
    report_prompts=("the word5", "word7 word8", "of a"),
    samples=2,
    n_random=3,
    sampling=Sampling(max_new_tokens=6),
)


class WordJudge:
    """Concept 2 where the concept's word is in the text, fluency 2; nothing but the one method of a
    judge.
    """

    def __init__(self, fails=lambda number: False):
        self.fails = fails
        self.calls = []

    def judge(self, prompts, texts, concepts):
        self.calls.append(list(zip(prompts, texts, concepts, strict=True)))
        failed = np.array([self.fails(number) for number in range(len(texts))])
        shown = np.array(
            [2.0 * (concept in text.split()) for text, concept in zip(texts, concepts, strict=True)]
        )
        return Judgement(np.where(failed, np.nan, shown), np.where(failed, np.nan, 2.0), failed)


@pytest.fixture(scope="module")
def targets(sea):
    noise = torch.randn(32, generator=torch.Generator().manual_seed(123))
    noise[0] = 0.0
    return [
        Target(
            family="planted native",
            method="planted",
            route="native",
            site=SITE,
            direction=sea,
            concept="sea",
            feature_id="planted-0",
        ),
        Target(
            family="noise native",
            method="noise",
            route="native",
            site=SITE,
            direction=noise,
            concept="sea",
            feature_id="noise-0",
        ),
    ]


@pytest.fixture(scope="module")
def result(speaker, targets):
    return evaluate_steering(speaker, targets, judge=WordJudge(), protocol=PROTOCOL)


def outcome(result):
    """All that can be compared of a result."""
    doses = [dose for found in (*result.targets, *result.controls) for dose in found.doses]
    return (
        [(dose.alpha, dose.measured_kl, dose.score, dose.continuations) for dose in doses],
        result.families,
        result.unsteered_scores,
    )


def test_the_planted_direction_makes_the_model_say_its_word_and_beats_the_controls(result):
    planted = result.targets[0]
    assert planted.report.value == 2.0
    assert all("sea" in text.text.split() for text in planted.doses[planted.chosen].continuations)
    assert planted.control.value < 1.0
    assert planted.beats_control


def test_a_random_direction_as_a_target_does_not_beat_the_controls(result):
    noise = result.targets[1]
    assert noise.chosen is not None
    assert not noise.beats_control


def test_strengths_are_equal_in_effect(result):
    for found in (*result.targets, *result.controls):
        assert [dose.measured_kl for dose in found.doses] == [
            pytest.approx(kl, rel=0.05) for kl in PROTOCOL.strengths
        ]


def test_controls_and_no_steering_are_in_the_same_table(result):
    assert [(family.family, family.is_control) for family in result.families] == [
        ("planted native", False),
        ("noise native", False),
        (f"random dense at {SITE}", True),
        (f"random sparse at {SITE}", True),
        ("no steering", True),
    ]
    assert len(result.controls) == 2 * PROTOCOL.n_random
    assert len(result.unsteered) == len(PROTOCOL.report_prompts) * PROTOCOL.samples
    assert set(result.unsteered_scores) == {"sea"}


def test_the_other_sign_is_tried_and_not_chosen(speaker, targets):
    found = evaluate_steering(
        speaker,
        targets[:1],
        judge=WordJudge(),
        protocol=Protocol(**{**vars(PROTOCOL), "signs": (1, -1)}),
    ).targets[0]
    assert [(dose.kl, dose.sign) for dose in found.doses] == [
        (0.3, 1),
        (1.0, 1),
        (0.3, -1),
        (1.0, -1),
    ]
    assert found.doses[found.chosen].sign == 1
    assert [dose.score.value for dose in found.doses[2:]] == [0.0, 0.0], (
        "against its direction the word is not said"
    )


def test_strengths_are_calibrated_on_selection_prompts_alone(speaker, targets, monkeypatch):
    seen = []

    def spy(model, prompts, *arguments, **options):
        seen.append(tuple(prompts))
        return calibrate(model, prompts, *arguments, **options)

    calibrate = interp.steering.evaluate.calibrate
    monkeypatch.setattr(interp.steering.evaluate, "calibrate", spy)
    evaluate_steering(speaker, targets[:1], judge=WordJudge(), protocol=PROTOCOL)
    assert seen == [PROTOCOL.selection_prompts]


def test_report_prompts_do_not_change_what_is_chosen(speaker, targets):
    class Contrary(WordJudge):
        """More of the word is worse on selection prompts and better on report prompts."""

        def judge(self, prompts, texts, concepts):
            more = np.array([float(text.split().count("sea")) for text in texts]) / 6
            selecting = np.array([prompt in PROTOCOL.selection_prompts for prompt in prompts])
            return Judgement(
                np.where(selecting, 2 - 2 * more, 2 * more),
                np.full(len(texts), 2.0),
                np.zeros(len(texts), dtype=bool),
            )

    (found,) = evaluate_steering(speaker, targets[:1], judge=Contrary(), protocol=PROTOCOL).targets
    assert found.doses[1].score.value > found.doses[0].score.value
    assert found.chosen == 0


def test_the_judge_is_called_once_with_all_it_is_needed_for(speaker, targets, sea):
    judge = WordJudge()
    ship = Target(
        family="planted native",
        method="planted",
        route="native",
        site=SITE,
        direction=sea.roll(2),
        concept="ship",
        feature_id="planted-2",
    )
    result = evaluate_steering(speaker, [targets[0], ship], judge=judge, protocol=PROTOCOL)
    (call,) = judge.calls
    texts, doses, controls = 5 * 2, 2, 2 * PROTOCOL.n_random
    # Both targets for their own concept; no steering and every control for both.
    assert len(call) == result.judged == texts * (2 * doses + 2 * (1 + controls * doses))
    assert [found.report.value for found in result.targets] == [2.0, 2.0]
    assert {concept for _, _, concept in call} == {"sea", "ship"}


def test_failures_are_counted_and_left_out(speaker, targets, result):
    judge = WordJudge(fails=lambda number: number % 3 == 0)
    found = evaluate_steering(speaker, targets, judge=judge, protocol=PROTOCOL)
    assert result.failed == 0
    assert found.judged == result.judged
    assert found.failed == len(range(0, found.judged, 3))
    assert found.targets[0].report.value == 2.0, "a failure scored as zero would lower the mean"
    assert found.targets[0].report.n < result.targets[0].report.n


def test_what_cannot_be_reached_is_counted(speaker, targets):
    found = evaluate_steering(
        speaker,
        targets[:1],
        judge=WordJudge(),
        protocol=Protocol(**{**vars(PROTOCOL), "strengths": (0.3, 50.0)}),
    )
    assert found.targets[0].unreachable == (50.0,)
    assert [dose.kl for dose in found.targets[0].doses] == [0.3, 50.0]
    assert [family.unreachable for family in found.families] == [1, 3, 3, 0]
    lost = evaluate_steering(
        speaker,
        targets[:1],
        judge=WordJudge(),
        protocol=Protocol(**{**vars(PROTOCOL), "strengths": (50.0,)}),
    )
    assert (lost.targets[0].report, lost.targets[0].margin) == (None, None)
    assert lost.families[0].report is None


def test_same_seed_same_result(speaker, targets, result):
    assert outcome(
        evaluate_steering(speaker, targets, judge=WordJudge(), protocol=PROTOCOL)
    ) == outcome(result)
    assert outcome(
        evaluate_steering(speaker, targets, judge=WordJudge(), protocol=PROTOCOL, seed=1)
    ) != outcome(result)


def test_a_refused_concept_is_refused_before_anything_is_generated(speaker, targets, monkeypatch):
    judge = WordJudge()
    judge.name, judge.reliability = (
        "picky",
        Reliability(
            Score(1.0, 1.0, 1.0, n=1, seed=0), {"sea": 0.6, "ship": 1.0}, ("ship",), ("sea",)
        ),
    )
    monkeypatch.setattr(speaker, "sample", None)
    with pytest.raises(InputError, match="the judge refuses 'sea'; choose among ship"):
        evaluate_steering(speaker, targets, judge=judge, protocol=PROTOCOL)


def test_bad_input_is_named_in_one_line(speaker, targets):
    class Short(WordJudge):
        def judge(self, prompts, texts, concepts):
            return super().judge(prompts[1:], texts[1:], concepts[1:])

    def changed(direction):
        return [
            Target(
                family="planted native",
                method="planted",
                route="native",
                site=SITE,
                direction=direction,
                concept="sea",
                feature_id="planted-0",
            )
        ]

    for given, judge, complaint in [
        ([], WordJudge(), "no targets"),
        (changed(torch.zeros(32)), WordJudge(), "planted-0 at L1.resid_post has no length"),
        (
            changed(torch.full((32,), torch.nan)),
            WordJudge(),
            "planted-0 at L1.resid_post has no length or is not finite",
        ),
        (changed(torch.ones(7)), WordJudge(), r"planted-0 is \(7,\) but L1.resid_post 32 wide"),
        (targets[:1], Short(), "judgements for"),
    ]:
        with pytest.raises(InputError, match=complaint) as caught:
            evaluate_steering(speaker, given, judge=judge, protocol=PROTOCOL)
        assert "\n" not in str(caught.value)


def test_a_result_shows_itself_escaped(speaker, targets):
    target = Target(
        family="<b>planted</b>",
        method="planted",
        route="native",
        site=SITE,
        direction=targets[0].direction,
        concept="sea",
        feature_id="planted-0",
    )
    shown = evaluate_steering(speaker, [target], judge=WordJudge(), protocol=PROTOCOL)._repr_html_()
    assert "&lt;b&gt;planted" in shown
    assert "0 of" in shown
