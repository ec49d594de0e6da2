"""A language model whose next-token logits are
`scale · unembedding @ rms_norm(embedding[token] + what was added)`, and nothing else.
"""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp.models.loading import wrap

SPECIAL = ("<s>", "</s>", "<pad>")


def planted(words, embedding, unembedding):
    """The model over special tokens and `words`; `embedding` and `unembedding [word, d]` are those
    of the words.

    Attention and MLP write zeros, so the residual stream after every token is that token's
    embedding. A special token is never said.
    """
    count, width = embedding.shape
    vocabulary = len(SPECIAL) + count
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        rms_norm_eps=1e-12,
    )
    module = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for layer in module.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        module.model.embed_tokens.weight.zero_()
        module.model.embed_tokens.weight[len(SPECIAL) :] = embedding
        module.lm_head.weight.zero_()
        module.lm_head.weight[len(SPECIAL) :] = unembedding
    return wrap(module, word_tokenizer(words))


def word_tokenizer(words):
    """One token per word."""
    known = {word: number for number, word in enumerate((*SPECIAL, *words))}
    core = Tokenizer(models.WordLevel(known, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def logprobs(model, last_word, added):
    """The next-token log-probabilities after `last_word` with a vector added to the residual
    stream, by hand in float64.
    """
    module = model.module
    token = model.tokenizer.convert_tokens_to_ids(last_word)
    hidden = module.model.embed_tokens.weight[token].double() + added.double()
    normed = hidden / hidden.pow(2).mean().sqrt()
    return torch.log_softmax(module.lm_head.weight.double() @ normed, dim=-1).detach()
