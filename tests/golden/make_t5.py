#!/usr/bin/env python3
"""Golden values of T5 and T5Gemma from transformers, for tests/models/test_t5*.c.

    python3 tests/golden/make_t5.py [NAME ...]      (torch, transformers 4.57, safetensors; transformers 5
                                                    ties such heads wrongly)

Writes into tests/golden/t5 one Hugging Face directory per model (tiny, random, fixed seeds, shapes chosen to
be awkward: inner != dim, nothing a multiple of 16) with golden.bin, and buckets.txt. golden.bin, little
endian, 4-byte fields:

    n_case, n_vocab, then for each case
    n_prompt, n_completion, prompt ids, completion ids (the start id 0, T5Gemma's bos, is not among them),
    log-probability of each completion token (f32), bf16 bound (f32), logits of the last row (n_vocab f32)

Weights are widened to f32 first, so 16-bit checkpoints are judged by f32 arithmetic. The bf16 bound is what
rounding the decoder products' inputs to bf16 may move a log-probability by: the largest move seen when each
of these inputs is multiplied by an independent random factor in 1 +- 2^-8 (twice the unit roundoff of bf16),
over 32 draws. T5Gemma's attention is transformers' "eager", which honours caps; its stacks differ in every
size but the vocabulary, and prompts are longer than windows.
"""
import pathlib
import struct
import sys

import torch
from safetensors.torch import load_file
from transformers import (T5Config, T5ForConditionalGeneration, T5GemmaConfig,
                          T5GemmaForConditionalGeneration, UMT5Config, UMT5ForConditionalGeneration)
from transformers.models.t5.modeling_t5 import T5Attention

HERE = pathlib.Path(__file__).parent / "t5"
CASES = [(1, 1), (7, 5), (63, 17), (64, 9), (65, 70), (130, 33)]  # prompt and completion lengths

SMALL = dict(d_model=24, d_kv=5, num_heads=3, d_ff=40, num_layers=2, num_decoder_layers=3, vocab_size=101,
             relative_attention_num_buckets=8, relative_attention_max_distance=20)
ODD = dict(d_model=33, d_kv=13, num_heads=2, d_ff=49, num_layers=3, num_decoder_layers=1, vocab_size=67,
           relative_attention_num_buckets=32, relative_attention_max_distance=128)
ONE = dict(d_model=16, d_kv=1, num_heads=5, d_ff=17, num_layers=1, num_decoder_layers=2, vocab_size=33,
           relative_attention_num_buckets=9, relative_attention_max_distance=21)
STACK = dict(vocab_size=71, max_position_embeddings=512, rms_norm_eps=1e-6, attention_dropout=0.0)
ENCODER = dict(STACK, hidden_size=20, intermediate_size=36, num_hidden_layers=3, num_attention_heads=4,
               num_key_value_heads=2, head_dim=12, sliding_window=16, query_pre_attn_scalar=7,
               attn_logit_softcapping=3.0, final_logit_softcapping=None)
DECODER = dict(STACK, hidden_size=26, intermediate_size=33, num_hidden_layers=4, num_attention_heads=3,
               num_key_value_heads=1, head_dim=10, sliding_window=9, query_pre_attn_scalar=5,
               attn_logit_softcapping=4.0, final_logit_softcapping=5.0, rope_theta=2e4)
GEMMA = dict(encoder=ENCODER, decoder=DECODER, vocab_size=71, bos_token_id=0, eos_token_id=1, pad_token_id=2)
WIDE = dict(GEMMA,
            encoder=dict(ENCODER, hidden_size=40, num_hidden_layers=2, head_dim=32, num_attention_heads=2,
                         num_key_value_heads=1, rope_scaling=dict(rope_type="linear", factor=2.0)),
            decoder=dict(DECODER, hidden_size=24, num_hidden_layers=2, head_dim=16, sliding_window=64,
                         tie_word_embeddings=False), tie_word_embeddings=False)
MODELS = {  # name: (config, dtype of matrices, matrices kept in f32)
    "gated_f32": (dict(SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False), torch.float32, ()),
    "relu_f32": (dict(ODD, feed_forward_proj="relu"), torch.float32, ()),
    "gelu_f32": (dict(ONE, feed_forward_proj="gelu"), torch.float32, ()),
    "silu_f32": (dict(ONE, feed_forward_proj="gated-silu", tie_word_embeddings=False), torch.float32, ()),
    "gated_bf16": (dict(SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False), torch.bfloat16,
                   ()),
    "mixed_bf16": (dict(SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False), torch.bfloat16,
                   ("wo",)),
    "relu_f16": (dict(ODD, feed_forward_proj="relu"), torch.float16, ()),
    "umt5_f32": (dict(SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False), torch.float32, ()),
    "umt5_tied_bf16": (dict(ODD, num_decoder_layers=2, feed_forward_proj="gated-gelu"), torch.bfloat16, ()),
    "t5gemma_f32": (GEMMA, torch.float32, ()),
    "t5gemma_bf16": (WIDE, torch.bfloat16, ()),
}
CLASSES = {"umt5": (UMT5Config, UMT5ForConditionalGeneration),
           "t5gemma": (T5GemmaConfig, T5GemmaForConditionalGeneration)}


def randomise(model, gen):
    """Activations of order one, logits a few units wide: near-uniform rows would test little."""
    for name, p in model.named_parameters():
        std = 1.0
        if "layer_norm" in name:
            p.data.uniform_(0.5, 1.5, generator=gen)
            continue
        if p.dim() == 2 and "shared" not in name and "relative_attention_bias" not in name:
            std = p.shape[1] ** -0.5
        if name.endswith(".q.weight"):
            std *= model.config.d_kv ** -0.5
        if name == "lm_head.weight":
            std *= 3.0
        p.data.normal_(0.0, std, generator=gen)
    if model.config.tie_word_embeddings:
        model.shared.weight.data.mul_(1.5)


def randomise_gemma(model, gen):
    """The same; norms multiply by 1 + w, and each stack has an embedding."""
    for name, p in model.named_parameters():
        if "norm" in name:
            p.data.uniform_(-0.5, 0.5, generator=gen)
            continue
        tied_head = "decoder.embed_tokens" in name and model.config.tie_word_embeddings
        p.data.normal_(0.0, (3.0 if "lm_head" in name or tied_head else 1.0) * p.shape[1] ** -0.5,
                       generator=gen)


def logits_of(model, prompt, completion):
    """No id is padding, whatever config.pad_token_id says."""
    ids, start = torch.tensor([prompt]), torch.tensor([[0] + completion[:-1]])
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=start,
                    decoder_attention_mask=torch.ones_like(start))
    return out.logits[0].float()


def logprobs_of(logits, completion):
    return logits.log_softmax(-1)[torch.arange(len(completion)), torch.tensor(completion)]


def bf16_bound(model, prompt, completion, clean):
    gen = torch.Generator().manual_seed(5)

    def jitter(_, args):
        x = args[0]
        return (x * (1 + (torch.rand(x.shape, generator=gen) * 2 - 1) * 2.0**-8),)

    hooks = [m.register_forward_pre_hook(jitter) for n, m in model.named_modules()
             if isinstance(m, torch.nn.Linear)
             and n.removeprefix("model.").startswith(("decoder", "lm_head"))
             and not n.endswith(("EncDecAttention.k", "EncDecAttention.v", "cross_attn.k_proj",
                                 "cross_attn.v_proj"))]
    worst = max((logprobs_of(logits_of(model, prompt, completion), completion) - clean).abs().max().item()
                for _ in range(32))
    for h in hooks:
        h.remove()
    return worst


def reopened(model_class, path):
    """As transformers reads it: the head is the decoder's embedding, or a tensor of its own."""
    model = model_class.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    head, decoder = model.lm_head.out_proj.weight, model.model.decoder.embed_tokens.weight
    assert (head is decoder) == model.config.tie_word_embeddings
    assert head is not model.model.encoder.embed_tokens.weight
    return model


def make_model(name, config, dtype, keep_f32, seed):
    path = HERE / name
    gen = torch.Generator().manual_seed(seed)
    gemma = name.startswith("t5gemma")
    config_class, model_class = CLASSES.get(name.split("_")[0], (T5Config, T5ForConditionalGeneration))
    extra = dict(attn_implementation="eager") if gemma else dict(decoder_start_token_id=0)
    model = model_class(config_class(**config, **extra, dropout_rate=0.0)).eval()
    (randomise_gemma if gemma else randomise)(model, gen)
    for n, p in model.named_parameters():
        if not any(f".{k}." in n for k in keep_f32):
            p.data = p.data.to(dtype)
    model.config.dtype = dtype
    model.save_pretrained(path)
    (path / "generation_config.json").unlink()
    if gemma:
        model = reopened(model_class, path)
    if keep_f32:  # save_pretrained keeps mixed dtypes only by luck: say so
        assert {t.dtype for t in load_file(path / "model.safetensors").values()} == {dtype, torch.float32}

    model = model.float()
    with open(path / "golden.bin", "wb") as f:
        f.write(struct.pack("<2i", len(CASES), config["vocab_size"]))
        for n_prompt, n_completion in CASES:
            draw = lambda n: torch.randint(0, config["vocab_size"], (n,), generator=gen).tolist()
            prompt, completion = draw(n_prompt), draw(n_completion)
            logits = logits_of(model, prompt, completion)
            lp = logprobs_of(logits, completion)
            bound = bf16_bound(model, prompt, completion, lp)
            f.write(struct.pack(f"<2i{n_prompt}i{n_completion}i", n_prompt, n_completion, *prompt,
                                *completion))
            f.write(struct.pack(f"<{n_completion}ff{len(logits[-1])}f", *lp.tolist(), bound,
                                *logits[-1].tolist()))
            print(f"{name} {n_prompt}+{n_completion}: mean logprob {lp.mean():.3f}, bf16 bound {bound:.2e}")


def make_buckets():
    """A line: bidirectional n_bucket max_distance n, then n pairs of a distance and its new bucket."""
    lines = []
    for n_bucket, max_distance in [(4, 3), (5, 4), (7, 13), (8, 20), (9, 21), (12, 37), (16, 64), (32, 128),
                                   (32, 256), (33, 100), (63, 77), (64, 1000), (128, 65), (10, 5000)]:
        for bidirectional in (0, 1):
            d = torch.arange(-2 * max_distance, 2 * max_distance + 1)
            b = T5Attention._relative_position_bucket(d, bool(bidirectional), n_bucket, max_distance).tolist()
            change = [i for i in range(len(b)) if i == 0 or b[i] != b[i - 1]]
            pairs = " ".join(f"{d[i].item()} {b[i]}" for i in change)
            lines.append(f"{bidirectional} {n_bucket} {max_distance} {len(change)} {pairs}\n")
    (HERE / "buckets.txt").write_text("".join(lines))


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    torch.manual_seed(0)
    make_buckets()
    for i, (name, (config, dtype, keep)) in enumerate(MODELS.items()):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            make_model(name, config, dtype, keep, 100 + i)
