"""Studies of learning dynamics, of runs in memory or in folders."""

from collections.abc import Sequence
from pathlib import Path

from interp.core import InputError, Progress, silent
from interp.corpus import load_concepts
from interp.corpus.concepts import data_folder
from interp.dynamics import learning_times as learning
from interp.dynamics.language.concepts import language_concepts, require_readable
from interp.dynamics.language.features import track_features
from interp.dynamics.language.tracking import track_language
from interp.dynamics.learning_times import LearningRule
from interp.studies.learning.files import load_image_runs
from interp.studies.learning.groups import arms_of, by_signal, main_runs
from interp.studies.learning.images import correlations, study_signal, study_variants
from interp.studies.learning.language import study_language
from interp.studies.learning.protocol import LearningProtocol
from interp.studies.learning.result import LanguageRun, LearningResult
from interp.studies.learning.samples import with_samples
from interp.testbeds.concepts.run import ConceptRun
from interp.testbeds.language.store import language_checkpoints, load_tokenizer


def study_learning(
    runs: Sequence[ConceptRun],
    *,
    language: LanguageRun | None = None,
    rule: LearningRule = learning.RULE,
) -> LearningResult:
    """Learning times, turns, and when each concept could first be elicited.

    Args:
        runs: of the shapes experiment (`load_image_runs`); none for a language model alone.
        language: a language model's tracks and features; None for image runs alone.
        rule: what counts as learned.

    Raises:
        InputError: neither is given, or a run twice.

    Cost: some seconds, nearly all of them bootstraps.

    Example:
        >>> write_dynamics(study_learning(load_image_runs("data/dynamics/shapes")), Path("page"))
    """
    _require_runs(runs, language)
    own = main_runs(runs)
    signals = tuple(study_signal(group, rule) for group in by_signal(own).values())
    return LearningResult(
        rule=rule,
        signals=signals,
        arms=tuple(arms_of(own)),
        correlations=correlations(signals),
        variants=study_variants(runs, rule),
        language=None if language is None else study_language(language, rule),
    )


def study_shapes(
    folder: str | Path | None = None,
    protocol: LearningProtocol = LearningProtocol(),  # noqa: B008 - frozen
    *,
    progress: Progress = silent,
) -> LearningResult:
    """Study a folder of runs of the shapes experiment, with samples of kept checkpoints.

    Args:
        folder: what `train_concepts` wrote; the shipped runs if left out.

    Raises:
        UnavailableError: there is no such folder, or no run in it.
        InputError: a file is not a run; the message names it.

    Example:
        >>> study_shapes("runs").signals[0].typical["colour"]
    """
    runs = load_image_runs(folder or data_folder() / "dynamics" / "shapes")
    return study_learning(with_samples(runs, progress=progress), rule=protocol.rule)


def study_language_model(
    folder: str | Path | None = None,
    protocol: LearningProtocol = LearningProtocol(),  # noqa: B008 - frozen
    *,
    shapes: str | Path | None = None,
    progress: Progress = silent,
) -> LearningResult:
    """Follow a tiny language model's concepts and features over its checkpoints, and steer it at
    each.

    Args:
        folder: what `train_tiny_language` wrote; the shipped run if left out.
        shapes: a folder of runs of the shapes experiment to study too.

    Raises:
        UnavailableError: a file of the run is missing; the message names it.
        InputError: the last checkpoint does not show that it knows a concept.

    Cost: two or three minutes for 25 checkpoints.

    Example:
        >>> study_language_model().language.concept("place").prompted
    """
    runs = [] if shapes is None else with_samples(load_image_runs(shapes), progress=progress)
    place = Path(folder or data_folder() / "dynamics" / "language")
    checkpoints = language_checkpoints(place)
    concepts = language_concepts(load_tokenizer(place), n=protocol.prompts)
    require_readable(checkpoints[-1].load(), concepts)
    texts = load_concepts().neutral.fit
    track = track_language(checkpoints, concepts, texts, protocol.site, progress=progress)
    history, features = track_features(
        checkpoints,
        concepts,
        texts,
        protocol.feature_site,
        n_features=protocol.features,
        progress=progress,
    )
    name = "a tiny GPT-2" if folder is None else place.name
    language = LanguageRun(track, history, features, name)
    return study_learning(runs, language=language, rule=protocol.rule)


def _require_runs(runs: Sequence[ConceptRun], language: LanguageRun | None) -> None:
    if not runs and language is None:
        raise InputError("there is nothing to show; give image runs, a language run, or both")
    named = [str(run) for run in runs]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"the run of {twice} is given twice; give every run once")
