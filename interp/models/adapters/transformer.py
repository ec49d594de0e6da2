"""Transformers language models as Models; the wrapped module is never changed."""

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.core import InputError, Sites
from interp.core.names import require_known
from interp.models.adapters.anatomy import Anatomy, examine
from interp.models.adapters.decoding import Sampling, cache_name, sample_ids
from interp.models.adapters.display import model_html, model_text
from interp.models.adapters.tokens import Padding, batches, positions_of, tokenize
from interp.models.hooks import Before, by_site, ended_early, evaluating, observing, placed
from interp.models.protocol import Batch, Frame, Hook, Prepared
from interp.models.weights.identity import module_hash

DEFAULT_SEGMENT = 512
TOKEN_BUDGET = 1024
"""Tokens of a default batch: larger ones are not faster on two CPU cores, but take memory."""

CALLABLE_OPTIONS = ("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "streamer")
"""Options of transformers' generate that its GenerationConfig does not list."""


class TransformerModel:
    """A causal language model: sites, `run`, `generate`, and effects on the vocabulary.

    Example:
        >>> model = interp.load_model("smollm2-135m-instruct")
        >>> logits = model.run("The capital of France is")
        >>> model.generate("The capital of France is", max_new_tokens=3)
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any | None,
        *,
        name: str | None = None,
        weight_hash: str | None = None,
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.name = name or type(module).__name__
        self._weight_hash = weight_hash
        self._generating: Tensor | None = None
        self._sessions = 0
        self.suffix_agrees: dict[str, bool] = {}
        """By site, once tried: whether running only what follows gives the same numbers."""

    @property
    def busy(self) -> bool:
        """Whether hooks are in place."""
        return self._sessions > 0

    @cached_property
    def anatomy(self) -> Anatomy:
        """The network's parts and sites."""
        return examine(self.module)

    @property
    def sites(self) -> Sites:
        """Every site with its shape."""
        return self.anatomy.sites

    @cached_property
    def weight_hash(self) -> str:
        """sha256 of the weights (of the file they came from, or of the module in memory)."""
        return self._weight_hash or module_hash(self.module)

    @property
    def n_layers(self) -> int:
        """How many blocks the network has."""
        return self.anatomy.n_layers

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.module.device
        return device

    @property
    def context_length(self) -> int:
        """The longest sequence the network takes."""
        return int(getattr(self.module.config, "max_position_embeddings", None) or DEFAULT_SEGMENT)

    def prepare(
        self,
        inputs: Any,
        batch_size: int | None = None,
        *,
        padding: Padding = "right",
        token_budget: int = TOKEN_BUDGET,
    ) -> Prepared:
        """Texts, chats or token ids as batches; a text longer than the context (or 512 tokens)
        becomes several sequences.

        With left padding, which serves to continue texts, none is cut.

        Raises:
            InputError: there are no inputs, a token id is unknown to the network, or with left
                padding a text is empty or too long.
        """
        return self._batched(inputs, batch_size, padding, token_budget, whole=padding == "left")

    def run(
        self,
        inputs: Any,
        hooks: Mapping[str, Hook] = {},
        *,
        stop_after: str | Iterable[str] | None = None,
        logits_to_keep: int = 0,
    ) -> Float[Tensor, "batch position vocabulary"] | None:
        """One forward call with hooks; gradients follow torch's own setting.

        With `stop_after` nothing after the last of those sites is computed and None is returned;
        `logits_to_keep` unembeds only that many last positions (0: all). Use `prepare` for inputs
        that do not fit one batch.

        Raises:
            InputError: a site does not exist, or a hook changes the shape.
        """
        batch = inputs if isinstance(inputs, Batch) else self._single(inputs)
        with self._session(hooks, stop_after, batch), ended_early():
            logits: Tensor = self.module(
                **batch.inputs, use_cache=False, logits_to_keep=logits_to_keep
            ).logits
            return logits
        return None

    def hooked(self, hooks: Mapping[str, Hook]) -> Any:
        """Keep hooks in place for every `run` and `generate` of a `with` block."""
        return self._session(hooks, None, None)

    def generate(
        self, prompts: Any, *, max_new_tokens: int = 50, seed: int = 0, **options: Any
    ) -> Any:
        """Continue prompts; `options` are transformers' generation options (`do_sample`, …).

        One text gives a string, several a list; `num_return_sequences` gives that many per prompt,
        prompt by prompt. Sampling draws from `seed` and leaves torch's global generator as it was.
        Without `do_sample` decoding is greedy.

        Raises:
            InputError: an option does not exist (the message names the nearest), or a prompt is
                empty or too long.
        """
        tokenizer, options = self._required_tokenizer, {"do_sample": False, **options}
        self._check_options(options)
        batch = self._single(prompts, padding="left")
        ids = self._sampled(batch, max_new_tokens, seed, options)
        width = batch.inputs["input_ids"].shape[1]
        texts = [tokenizer.decode(row[width:], skip_special_tokens=True) for row in ids]
        return texts[0] if isinstance(prompts, str) and len(texts) == 1 else texts

    def sample(self, batch: Batch, sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        """Continuations of a left-padded batch; a row's text depends on its seed, not other rows.

        Raises:
            InputError: the batch is not padded on the left, or there is not one seed per row.

        Cost: one cached forward call per new token for the whole batch.
        """
        if len(seeds) != len(batch.items):
            raise InputError(
                f"{len(seeds)} seeds were given for {len(batch.items)} rows; give one per row"
            )
        tokenizer = self._required_tokenizer
        with self._continuing(batch), evaluating(self.module):
            ids = sample_ids(self.module, batch, sampling, seeds, self._stop_ids)
        return [tokenizer.decode(row[row >= 0], skip_special_tokens=True) for row in ids]

    @torch.no_grad()
    def next_token_logprobs(self, batch: Batch) -> Float[Tensor, "batch vocabulary"]:
        """Log-probabilities of the token after each row of a left-padded batch; hooks apply.

        Raises:
            InputError: the batch is not padded on the left.
        """
        _require_left(batch)
        logits = self.run(batch, logits_to_keep=1)
        assert logits is not None
        return torch.log_softmax(logits[:, -1].float(), dim=-1)

    @torch.no_grad()
    def token_logprobs(self, batch: Batch, *, start: int = 1) -> Float[Tensor, "batch position"]:
        """Log-probability of every token given those before it; 0 at the first position, on padding
        and before `start`.
        """
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        start = min(max(start, 1), ids.shape[1])
        logits = self.run(batch, logits_to_keep=ids.shape[1] - start + 1)
        assert logits is not None
        chosen = logits[:, :-1].gather(2, ids[:, start:, None])[..., 0].float()
        own = chosen - torch.logsumexp(logits[:, :-1].float(), dim=-1)
        both = (mask[:, start:] * mask[:, start - 1 : -1]).bool()
        return torch.nn.functional.pad(torch.where(both, own, torch.zeros_like(own)), (start, 0))

    @torch.no_grad()
    def residual_effect(
        self, site: str, directions: Float[Tensor, "feature d"]
    ) -> Float[Tensor, "feature d_model"]:
        """What a direction at a site adds to the residual stream: at residual sites itself, at an
        MLP's neurons its image under the down projection.

        Where an extra norm follows (Gemma), the image with the bias passes through it.

        Raises:
            InputError: the site does not write to the residual stream directly.
        """
        site = self.sites.resolve(site)
        layer, _, kind = site.partition(".")
        if kind == "mlp":
            index = int(layer[1:])
            down, norm = self.anatomy.down_projections[index], self.anatomy.mlp_norms[index]
            assert down is not None
            image = down(directions.to(self.module.dtype).to(self.device))
            if norm is not None:
                return norm(image).float()
            bias = getattr(down, "bias", None)
            return (image if bias is None else image - bias).float()
        if self.sites.width(site) != self.anatomy.d_model:
            raise InputError(
                f"a direction at {site!r} has no direct effect on the residual stream; use an mlp, "
                "mlp_out, attn_out or resid site"
            )
        return directions.to(self.device).float()

    @torch.no_grad()
    def vocabulary_effect(
        self, residual: Float[Tensor, "feature d_model"]
    ) -> Float[Tensor, "feature vocabulary"]:
        """Logits of a residual vector alone: `unembed(ln_final(vector))` (the logit lens,
        nostalgebraist 2020).
        """
        normed = self.anatomy.final_norm(residual.to(self.module.dtype).to(self.device))
        logits: Tensor = self.anatomy.unembed(normed)
        return logits.float()

    def bridge(self) -> Any:
        """A TransformerLens `TransformerBridge` of this network.

        It is built on a copy that shares the parameters, because building it changes the module. A
        tokenizer that was not loaded from a name or folder is left out: TransformerLens loads it
        anew from there.
        """
        from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

        tokenizer = (
            self.tokenizer if "name_or_path" in getattr(self.tokenizer, "init_kwargs", {}) else None
        )
        shared = {id(parameter): parameter for parameter in self.module.parameters()}
        twin = copy.deepcopy(self.module, shared)
        return build_bridge_from_module(
            twin, type(twin).__name__, hf_config=twin.config, tokenizer=tokenizer
        )

    def __repr__(self) -> str:
        return model_text(self)

    def _repr_html_(self) -> str:
        about = f"{self.n_layers} layers, {self.anatomy.d_model:,} wide"
        return model_html("Language model", self.name, self.module, self.sites, about)

    @property
    def _pad_id(self) -> int:
        # Masked positions never count, so any valid id will do.
        candidates = (getattr(self.tokenizer, f"{kind}_token_id", None) for kind in ("pad", "eos"))
        return next((token for token in candidates if token is not None), 0)

    @property
    def _required_tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise InputError(
                "this model was wrapped without a tokenizer and cannot give texts; use "
                "wrap(module, tokenizer)"
            )
        return self.tokenizer

    @property
    def _stop_ids(self) -> list[int]:
        named = self.module.generation_config.eos_token_id
        return [named] if isinstance(named, int) else list(named or [])

    def _single(self, inputs: Any, padding: Padding = "right") -> Batch:
        """All inputs as one batch, in their order."""
        batch = self._batched(inputs, sys.maxsize, padding, TOKEN_BUDGET, whole=True).batches[0]
        order = torch.from_numpy(batch.items.argsort(kind="stable"))
        return Batch(
            inputs={key: value[order] for key, value in batch.inputs.items()},
            items=batch.items[order.numpy()],
            offsets=batch.offsets[order.numpy()],
            keep=None if batch.keep is None else batch.keep[order],
            special=None if batch.special is None else batch.special[order],
        )

    def _batched(
        self,
        inputs: Any,
        batch_size: int | None,
        padding: Padding,
        token_budget: int,
        *,
        whole: bool,
    ) -> Prepared:
        tokenized = tokenize(inputs, self.tokenizer)
        vocabulary, longest = self.module.get_input_embeddings().num_embeddings, self.context_length
        for number, text in enumerate(tokenized):
            if text.ids and not 0 <= min(text.ids) <= max(text.ids) < vocabulary:
                raise InputError(
                    f"input {number} has token ids from {min(text.ids)} to {max(text.ids)}, the "
                    f"network knows 0 to {vocabulary - 1}"
                )
            if whole and not 1 <= len(text.ids) <= longest:
                raise InputError(
                    f"input {number} has {len(text.ids)} tokens, the network takes 1 to {longest}; "
                    "give at least a word, and cut a long text (model.prepare(inputs) does)"
                )
        return batches(
            tokenized,
            pad_id=self._pad_id,
            segment=longest if whole else min(longest, DEFAULT_SEGMENT),
            batch_size=batch_size,
            token_budget=token_budget,
            device=self.device,
            padding=padding,
        )

    def _check_options(self, options: Mapping[str, Any]) -> None:
        listed = self.module.generation_config.to_dict()
        known = [*CALLABLE_OPTIONS, *(name for name in listed if not name.startswith("_"))]
        hint = "the names are those of transformers' GenerationConfig"
        for name in options:
            require_known("generation option", name, known, hint)

    @torch.no_grad()
    def _sampled(
        self, batch: Batch, max_new_tokens: int, seed: int, options: Mapping[str, Any]
    ) -> Int[Tensor, "row position"]:
        inputs = {key: batch.inputs[key] for key in ("input_ids", "attention_mask")}
        with self._continuing(batch), _seeded(self.device, seed), evaluating(self.module):
            given = self.module.generate(**inputs, **self._generation(max_new_tokens, options))
        ids: Tensor = getattr(given, "sequences", given)
        return ids

    @contextmanager
    def _continuing(self, batch: Batch) -> Iterator[None]:
        """Tell hooks the length of the prompts during the block."""
        _require_left(batch)
        self._generating = batch.inputs["attention_mask"].sum(dim=1)
        try:
            yield
        finally:
            self._generating = None

    def _generation(self, max_new_tokens: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Transformers' options; in greedy decoding a model's sampling defaults would only warn."""
        neutral = {} if options["do_sample"] else dict.fromkeys(("temperature", "top_p", "top_k"))
        reader = {"tokenizer": self.tokenizer} if options.get("stop_strings") else {}
        return {
            "pad_token_id": self._pad_id,
            "max_new_tokens": max_new_tokens,
            **neutral,
            **reader,
            **options,
        }

    @contextmanager
    def _session(
        self, hooks: Mapping[str, Hook], stop_after: str | Iterable[str] | None, batch: Batch | None
    ) -> Iterator[None]:
        resolved, ends = by_site(self.sites, hooks, stop_after)
        frame = Frame(batch=batch)
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.module))
            stack.enter_context(observing(self.module, before=self._tracker(frame)))
            stack.enter_context(placed(self.anatomy.points, resolved, frame, ends))
            stack.enter_context(self._counted())
            yield

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1

    def _tracker(self, frame: Frame) -> Before:
        def track(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            ids = kwargs.get("input_ids")
            if ids is None:
                ids = kwargs.get("inputs_embeds", args[0] if args else None)
            frame.positions = _positions(module, ids, kwargs)
            frame.prompt_length = self._prompt_length(len(frame.positions))

        return track

    def _prompt_length(self, rows: int) -> Tensor | None:
        if self._generating is None:
            return None
        # With several sequences or beams per prompt, each prompt's row is repeated in place.
        return self._generating.repeat_interleave(rows // len(self._generating))


def _require_left(batch: Batch) -> None:
    if not bool(batch.inputs["attention_mask"][:, -1].all()):
        raise InputError(
            "texts are continued from a batch that is padded on the left; use model.prepare(texts, "
            'padding="left")'
        )


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators of the CPU and of a device for the block, then restore them."""
    kind = device.type if device.type != "cpu" and hasattr(torch, device.type) else None
    with torch.random.fork_rng(devices=[device] if kind else [], device_type=kind or "cuda"):
        torch.default_generator.manual_seed(seed)
        if kind:
            getattr(torch, kind).manual_seed(seed)
        yield


def _positions(module: nn.Module, ids: Any, kwargs: Mapping[str, Any]) -> Tensor:
    rows, length = ids.shape[:2]
    mask = kwargs.get("attention_mask")
    if isinstance(mask, Tensor) and mask.ndim == 2:
        # With a cache the mask covers past and present tokens.
        return positions_of(mask)[:, -length:]
    if kwargs.get("position_ids") is not None:
        given: Tensor = kwargs["position_ids"]
        return given.expand(rows, length)
    past = kwargs.get(cache_name(module))
    start = 0 if past is None else int(past.get_seq_length())
    return torch.arange(start, start + length, device=ids.device).expand(rows, length)
