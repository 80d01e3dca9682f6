#!/usr/bin/env python3
"""Golden values of the decoder-only families from transformers, for tests/models/test_*decoder*.c.

    python3 tests/golden/make_decoder.py [NAME ...]        (torch, transformers 4.57, safetensors)

Writes into tests/golden/decoder one Hugging Face directory per model (tiny, random, fixed seeds, shapes
chosen to be awkward: n_head * head_dim != dim, odd halves of heads, grouped heads, windows shorter than the
text), and golden.bin with the weights. tests/models/decoder_fixture.c has the same configs. golden.bin,
little endian, 4-byte fields:

    n_case, n_vocab, then for each case
    n, ids (n), log-probability of ids[i + 1] after ids[0 ... i] (n - 1, f32), bf16 bound (f32),
    logits after the last id (n_vocab f32)

Weights are widened to f32 first, so 16-bit checkpoints are judged by f32 arithmetic. The bf16 bound is what
rounding the products' inputs to bf16 may move a log-probability by: the largest move seen when each of these
inputs is multiplied by an independent random factor in 1 +- 2^-8 (twice the unit roundoff of bf16), over 32
draws. Attention is transformers' "eager", which honours softcaps and windows. Of mixtures of experts ids are
drawn until every layer's choice of experts is clear: rounding moves a result a little, another expert a lot.
gpt-oss's experts are clamped to swiglu_limit, which transformers keeps as a constant of the module.
"""
import pathlib
import struct
import sys

import torch
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GptOssConfig,
                          GptOssForCausalLM, GraniteConfig, GraniteForCausalLM, LlamaConfig,
                          LlamaForCausalLM, MistralConfig, MistralForCausalLM, MixtralConfig,
                          MixtralForCausalLM, Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, SmolLM3Config,
                          SmolLM3ForCausalLM)

HERE = pathlib.Path(__file__).parent / "decoder"
CASES = [1, 7, 65, 130]  # ids; pages hold 64

LLAMA = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=10, vocab_size=67, max_position_embeddings=512,
             rms_norm_eps=1e-5, tie_word_embeddings=False)
STRETCHED = dict(LLAMA, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=24,
                 tie_word_embeddings=True)
QWEN2 = dict(hidden_size=28, intermediate_size=33, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, vocab_size=67, max_position_embeddings=512, rms_norm_eps=1e-6,
             rope_theta=1e6, tie_word_embeddings=True)
QWEN3 = dict(LLAMA, num_attention_heads=3, num_key_value_heads=3, head_dim=6, rms_norm_eps=1e-6,
             rope_theta=1e6)
GEMMA2 = dict(hidden_size=20, intermediate_size=36, num_hidden_layers=4, num_attention_heads=4,
              num_key_value_heads=2, head_dim=12, vocab_size=67, max_position_embeddings=512,
              rms_norm_eps=1e-6, sliding_window=16, query_pre_attn_scalar=7, attn_logit_softcapping=3.0,
              final_logit_softcapping=5.0)
GEMMA3 = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=7, num_attention_heads=2,
              num_key_value_heads=1, head_dim=14, vocab_size=67, max_position_embeddings=512,
              rms_norm_eps=1e-6, sliding_window=17, query_pre_attn_scalar=9, rope_theta=1e6,
              rope_local_base_freq=1e4, rope_scaling=dict(rope_type="linear", factor=8.0))

MISTRAL = dict(LLAMA, hidden_size=28, intermediate_size=37, rope_theta=1e6, sliding_window=16)
PHI3 = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=67, max_position_embeddings=512,
            original_max_position_embeddings=512, rms_norm_eps=1e-5, sliding_window=16)
PHI4 = dict(PHI3, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, partial_rotary_factor=0.75, sliding_window=None, tie_word_embeddings=True,
            rope_scaling=dict(type="longrope", short_factor=[1.0, 1.1, 1.25, 1.5, 1.75, 2.5],
                              long_factor=[1.0, 1.5, 3.0, 7.5, 19.0, 42.0]))
OLMO2 = dict(LLAMA, rms_norm_eps=1e-6, rope_theta=5e5)
GRANITE = dict(STRETCHED, head_dim=10, rope_theta=1e5, embedding_multiplier=3.5, residual_multiplier=0.22,
               attention_multiplier=0.4, logits_scaling=1.7)
SMOLLM3 = dict(LLAMA, num_hidden_layers=5, rms_norm_eps=1e-6, rope_theta=5e6, tie_word_embeddings=True)
MIXTRAL = dict(LLAMA, hidden_size=28, intermediate_size=21, rope_theta=1e6, num_local_experts=5,
               num_experts_per_tok=2)
QWEN3_MOE = dict(QWEN3, moe_intermediate_size=19, num_experts=7, num_experts_per_tok=3, norm_topk_prob=True)
QWEN2_MOE = dict(QWEN2, num_hidden_layers=4, moe_intermediate_size=17, shared_expert_intermediate_size=35,
                 num_experts=6, num_experts_per_tok=4, decoder_sparse_step=2, mlp_only_layers=[1, 9])
GPT_OSS = dict(LLAMA, hidden_size=28, intermediate_size=21, rope_theta=15e4, num_local_experts=5,
               num_experts_per_tok=2, sliding_window=16, swiglu_limit=7.0, rope_scaling=dict(
                   rope_type="yarn", factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                   original_max_position_embeddings=128))
FULL, SLIDING = "full_attention", "sliding_attention"

F32, BF16 = torch.float32, torch.bfloat16
MODELS = {  # name: (config class, model class, config, dtype)
    "llama_f32": (LlamaConfig, LlamaForCausalLM, LLAMA, F32),
    "llama3_f32": (LlamaConfig, LlamaForCausalLM, dict(STRETCHED, rope_theta=5e5, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64)), F32),
    "linear_f32": (LlamaConfig, LlamaForCausalLM,
                   dict(STRETCHED, rope_scaling=dict(rope_type="linear", factor=4.0)), F32),
    "yarn_f32": (LlamaConfig, LlamaForCausalLM, dict(STRETCHED, rope_scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=128)), F32),
    "qwen2_f32": (Qwen2Config, Qwen2ForCausalLM, QWEN2, F32),
    "qwen3_f32": (Qwen3Config, Qwen3ForCausalLM, QWEN3, F32),
    "gemma2_f32": (Gemma2Config, Gemma2ForCausalLM, GEMMA2, F32),
    "gemma3_f32": (Gemma3TextConfig, Gemma3ForCausalLM, GEMMA3, F32),
    "llama_bf16": (LlamaConfig, LlamaForCausalLM, dict(LLAMA, hidden_size=32, head_dim=16), BF16),
    "gemma2_bf16": (Gemma2Config, Gemma2ForCausalLM, dict(
        GEMMA2, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=256,
        query_pre_attn_scalar=256), BF16),
    "gemma3_bf16": (Gemma3TextConfig, Gemma3ForCausalLM, dict(GEMMA3, head_dim=32), BF16),
    "mistral_f32": (MistralConfig, MistralForCausalLM, MISTRAL, F32),
    "mistral_full_f32": (MistralConfig, MistralForCausalLM, dict(MISTRAL, sliding_window=None), F32),
    "phi3_f32": (Phi3Config, Phi3ForCausalLM, PHI3, F32),
    # all cases but the one of a single id, where positions do not matter, on one side of the trained context
    "phi4_short_f32": (Phi3Config, Phi3ForCausalLM, dict(PHI4, original_max_position_embeddings=256), F32),
    "phi4_long_f32": (Phi3Config, Phi3ForCausalLM, dict(PHI4, original_max_position_embeddings=6), F32),
    "phi4_bf16": (Phi3Config, Phi3ForCausalLM, dict(PHI4, original_max_position_embeddings=256), BF16),
    "olmo2_f32": (Olmo2Config, Olmo2ForCausalLM, OLMO2, F32),
    "olmo2_bf16": (Olmo2Config, Olmo2ForCausalLM, dict(OLMO2, hidden_size=32, head_dim=16), BF16),
    "granite_f32": (GraniteConfig, GraniteForCausalLM, GRANITE, F32),
    "granite_bf16": (GraniteConfig, GraniteForCausalLM, dict(GRANITE, hidden_size=32, head_dim=16), BF16),
    "smollm3_f32": (SmolLM3Config, SmolLM3ForCausalLM, SMOLLM3, F32),
    "smollm3_window_f32": (SmolLM3Config, SmolLM3ForCausalLM, dict(
        SMOLLM3, use_sliding_window=True, sliding_window=16, no_rope_layers=[1, 0, 1, 0, 1],
        layer_types=[SLIDING, SLIDING, FULL, FULL, SLIDING]), F32),
    "mixtral_f32": (MixtralConfig, MixtralForCausalLM, MIXTRAL, F32),
    "mixtral_bf16": (MixtralConfig, MixtralForCausalLM, dict(
        MIXTRAL, num_hidden_layers=2, hidden_size=32, head_dim=16, sliding_window=16), BF16),
    "qwen3moe_f32": (Qwen3MoeConfig, Qwen3MoeForCausalLM, QWEN3_MOE, F32),
    "qwen3moe_bf16": (Qwen3MoeConfig, Qwen3MoeForCausalLM, dict(
        QWEN3_MOE, num_hidden_layers=2, hidden_size=32, head_dim=16, norm_topk_prob=False), BF16),
    "qwen2moe_f32": (Qwen2MoeConfig, Qwen2MoeForCausalLM, QWEN2_MOE, F32),
    "qwen2moe_bf16": (Qwen2MoeConfig, Qwen2MoeForCausalLM, dict(
        QWEN2_MOE, num_hidden_layers=2, hidden_size=32, decoder_sparse_step=1, mlp_only_layers=None,
        norm_topk_prob=True, qkv_bias=False), BF16),
    "qwen2moe_all_f32": (Qwen2MoeConfig, Qwen2MoeForCausalLM, dict(
        QWEN2_MOE, num_hidden_layers=2, decoder_sparse_step=1, mlp_only_layers=None), F32),
    "gptoss_f32": (GptOssConfig, GptOssForCausalLM, GPT_OSS, F32),
    "gptoss_bf16": (GptOssConfig, GptOssForCausalLM, dict(
        GPT_OSS, num_hidden_layers=2, hidden_size=32, head_dim=16, swiglu_limit=1.5), BF16),
}


def randomise(model, gen):
    """Activations of order one, logits a few units wide: near-uniform rows would test little."""
    gemma = model.config.model_type.startswith("gemma")
    for name, p in model.named_parameters():
        if "norm" in name:
            p.data.uniform_(0.5, 1.5, generator=gen)
            if gemma:
                p.data.sub_(1.0)
        elif name.endswith("gate_up_proj_bias"):  # past the limits of both signs now and then
            p.data.normal_(0.0, 0.6 * model.config.swiglu_limit, generator=gen)
        elif name.endswith("bias"):
            p.data.normal_(0.0, 0.5, generator=gen)
        elif name.endswith("sinks"):
            p.data.normal_(1.0, 1.0, generator=gen)
        elif "embed_tokens" in name:
            p.data.normal_(0.0, 3.0 * p.shape[1] ** -0.5 if model.config.tie_word_embeddings else 1.0,
                           generator=gen)
        else:
            p.data.normal_(0.0, (3.0 if name.startswith("lm_head") else 1.0) * p.shape[1] ** -0.5,
                           generator=gen)


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float()


def set_limits(model):
    for m in model.modules():
        if hasattr(m, "gate_up_proj_bias"):
            m.limit = model.config.swiglu_limit


def router_logits(model, inputs):
    """Of each layer; what gpt-oss's routers return are weights."""
    if model.config.model_type != "gpt_oss":
        return model.model(input_ids=inputs, output_router_logits=True).router_logits
    seen = []
    hooks = [m.register_forward_pre_hook(
        lambda m, args: seen.append(torch.nn.functional.linear(args[0], m.weight, m.bias)))
        for m in model.modules() if type(m).__name__ == "GptOssTopKRouter"]
    model.model(input_ids=inputs)
    for h in hooks:
        h.remove()
    return seen


def clear(model, ids, candidates):
    """Which of the ids that may come next have experts far from the next likely ones, in every layer, beside
    how far experts are apart."""
    with torch.no_grad():
        layers = router_logits(model, torch.tensor([[*ids, c] for c in candidates]))
    k, n = model.config.num_experts_per_tok, len(candidates)
    ok = torch.ones(n, dtype=torch.bool)
    for logits in (layer for layer in layers if layer is not None):
        v = logits.view(n, len(ids) + 1, -1)[:, -1].float().sort(descending=True).values
        ok &= v[:, k - 1] - v[:, k] > 0.1 * (v[:, 0] - v[:, -1])
    return ok.tolist()


def draw_ids(model, n, gen):
    c = model.config
    if not hasattr(c, "num_experts_per_tok"):
        return torch.randint(0, c.vocab_size, (n,), generator=gen).tolist()
    ids = []
    while len(ids) < n:
        candidates = torch.randint(0, c.vocab_size, (24,), generator=gen).tolist()
        ids += [c for c, ok in zip(candidates, clear(model, ids, candidates)) if ok][:1]
    return ids


def logprobs_of(logits, ids):
    return logits[:-1].log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:], dtype=torch.long)]


def expert_hooks(model, moved):
    """gpt-oss's experts with both their inputs moved."""
    def experts(m, args, kwargs, _):
        x, weight = args[0].reshape(-1, m.hidden_size), kwargs["routing_weights"]
        both = torch.einsum("rd,edf->erf", moved(x), m.gate_up_proj) + m.gate_up_proj_bias[:, None]
        gate, up = both[..., ::2].clamp(max=m.limit), both[..., 1::2].clamp(-m.limit, m.limit)
        h = moved((up + 1) * gate * torch.sigmoid(m.alpha * gate))
        out = torch.einsum("erf,efd->erd", h, m.down_proj) + m.down_proj_bias[:, None]
        return (out * weight.T[..., None]).sum(0).view(args[0].shape)

    return [m.register_forward_hook(experts, with_kwargs=True) for m in model.modules()
            if type(m).__name__ == "GptOssExperts"]


def bf16_bound(model, ids, clean):
    gen = torch.Generator().manual_seed(5)

    def moved(x):
        return x * (1 + (torch.rand(x.shape, generator=gen) * 2 - 1) * 2.0**-8)

    def jitter(_, args):
        return (moved(args[0]), *args[1:])

    hooks = [m.register_forward_pre_hook(jitter) for m in model.modules()
             if isinstance(m, torch.nn.Linear) or type(m).__name__ == "GptOssTopKRouter"]
    hooks += expert_hooks(model, moved)
    worst = max((logits_of(model, ids).log_softmax(-1) - clean.log_softmax(-1)).abs().max().item()
                for _ in range(32))
    for h in hooks:
        h.remove()
    return worst


def make_model(name, config_class, model_class, config, dtype, seed):
    path = HERE / name
    gen = torch.Generator().manual_seed(seed)
    c = config_class(**config, attn_implementation="eager", bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model = model_class(c).eval()
    randomise(model, gen)
    model = model.to(dtype)
    model.config.dtype = dtype
    model.save_pretrained(path)
    (path / "generation_config.json").unlink(missing_ok=True)

    model = model_class.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    set_limits(model)
    with open(path / "golden.bin", "wb") as f:
        f.write(struct.pack("<2i", len(CASES), c.vocab_size))
        for n in CASES:
            ids = draw_ids(model, n, gen)
            logits = logits_of(model, ids)
            lp = logprobs_of(logits, ids)
            bound = bf16_bound(model, ids, logits)
            f.write(struct.pack(f"<i{n}i{n - 1}ff{c.vocab_size}f", n, *ids, *lp.tolist(), bound,
                                *logits[-1].tolist()))
            print(f"{name} {n}: mean logprob {lp.mean():.3f}, logits +-{logits.abs().max():.1f}, bf16 bound "
                  f"{bound:.2e}")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    torch.manual_seed(0)
    for i, (name, (config_class, model_class, config, dtype)) in enumerate(MODELS.items()):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            make_model(name, config_class, model_class, config, dtype, 200 + i)
