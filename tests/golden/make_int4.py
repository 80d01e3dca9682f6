#!/usr/bin/env python3
"""Golden values of models whose matrices are 4-bit codes in groups, for tests/host/test_int4.c.

    python3 tests/golden/make_int4.py [NAME ...]        (torch, transformers 4.57, safetensors)

Writes into tests/golden/int4 one directory per model, packed here with numpy as these writers do it, and
golden.bin with transformers' log-probabilities of the dequantised weights, in f32:

    gptq, gptq_v2    AutoGPTQ, nn_modules/qlinear/qlinear_cuda.py (pack); GPTQModel, utils/model.py
                     (convert_gptq_v1_to_v2_format_module: zeros less one, as whole words)
    awq              AutoAWQ, awq/modules/linear/gemm.py (from_linear, order_map)
    pack-quantized   compressed-tensors, compressors/pack_quantized/helpers.py (pack_to_int32)
    mxfp4            the same, compressors/nvfp4/helpers.py (pack_fp4_to_uint8), compressors/mx_utils.py
    gptoss_mxfp4     gpt-oss's experts as published (transformers, integrations/mxfp4.py)

Codes are the nearest to the random weights; the zeros of some groups are 0 and 15. With an order (desc_act,
actorder "group") the inputs were put into random order before they were cut into groups, the same for
matrices that share their inputs or one for each; g_idx says the group of each, and codes stay where their
inputs are (AutoGPTQ, quantization/gptq.py; llm-compressor, gptq_quantize.py). golden.bin, little endian,
4-byte fields:

    n, ids (n), log-probability of ids[i + 1] after ids[0 ... i] (n - 1, f32), byte bound (f32)

The byte bound is what rounding the inputs of the packed matrices to bytes may move a log-probability by: the
largest move seen when every input is moved by a random part of 1/127 of the largest of its 32 (twice the
largest error), over 32 draws. The 32 are neighbours once inputs are sorted by group.
"""
import json
import pathlib
import struct
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (GptOssConfig, GptOssForCausalLM, LlamaConfig, LlamaForCausalLM, Phi3Config,
                          Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

from make_decoder import draw_ids, expert_hooks, logits_of, logprobs_of, randomise, set_limits

HERE = pathlib.Path(__file__).parent / "int4"
N_ID = 40
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]

BASE = dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=67,
            max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False)
LLAMA = (LlamaConfig, LlamaForCausalLM, dict(BASE, hidden_size=64, intermediate_size=96, head_dim=24))
QWEN2 = (Qwen2Config, Qwen2ForCausalLM, dict(BASE, hidden_size=64, intermediate_size=128,
                                             tie_word_embeddings=True))
QWEN3 = (Qwen3Config, Qwen3ForCausalLM, dict(BASE, hidden_size=64, intermediate_size=192, head_dim=32))
PHI3 = (Phi3Config, Phi3ForCausalLM, dict(BASE, hidden_size=64, intermediate_size=96, pad_token_id=0,
                                          original_max_position_embeddings=128))
LLAMA_128 = (LlamaConfig, LlamaForCausalLM, dict(BASE, hidden_size=128, intermediate_size=256, head_dim=32,
                                                 num_hidden_layers=1, vocab_size=72))

LLAMA_256 = (LlamaConfig, LlamaForCausalLM, dict(BASE, hidden_size=256, intermediate_size=256, head_dim=64,
                                                 num_hidden_layers=1, vocab_size=72))

GPT_OSS = dict(BASE, hidden_size=64, intermediate_size=96, head_dim=24, num_local_experts=4,
               num_experts_per_tok=2, sliding_window=16, swiglu_limit=7.0, rope_theta=15e4, rope_scaling=dict(
                   rope_type="yarn", factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                   original_max_position_embeddings=32))

# name: model, form, group (-1: whole rows), symmetric, modules that stay, further facts
MODELS = {
    "gptq_symmetric": (LLAMA, "gptq", 32, True, ["lm_head"], dict(no_bias=True)),
    "gptq_zeros": (QWEN2, "gptq", 64, False, ["lm_head"], dict(desc_act=True)),
    "gptq_v2_head": (LLAMA_128, "gptq_v2", 128, False, ["layers.0.mlp.down_proj"], {}),
    "gptq_rows": (LLAMA, "gptq", -1, True, ["lm_head"], dict(scales=torch.bfloat16)),
    "awq": (QWEN3, "awq", 64, False, ["lm_head", "layers.1.mlp.down_proj"], {}),
    "awq_fused": (PHI3, "awq", 32, False, ["lm_head"], {}),
    "packed_symmetric": (LLAMA, "pack-quantized", -1, True, ["lm_head"], dict(scales=torch.bfloat16)),
    "packed_zeros": (LLAMA, "pack-quantized", 32, False, ["lm_head"], dict(scales=torch.bfloat16)),
    "mxfp4": (LLAMA, "mxfp4-pack-quantized", 32, True, ["lm_head"], {}),
    "gptq_act_order": (LLAMA_256, "gptq", 128, False, [], dict(desc_act=True, order="shared")),
    "gptq_act_order_fused": (PHI3, "gptq", 32, True, ["lm_head"], dict(desc_act=True, order="shared")),
    "packed_act_order": (QWEN2, "pack-quantized", 32, False, ["lm_head"], dict(order="each")),
}


def quantise(w, group, symmetric, dtype, rng):
    """Codes (n, k), zeros and scales (n, groups): nearest codes of w (n, k)."""
    n, k = w.shape
    w = w.reshape(n, k // group, group)
    low, high = np.minimum(w.min(2), 0), np.maximum(w.max(2), 0)
    step = np.abs(w).max(2) / 7.5 if symmetric else (high - low) / 15
    scale = torch.from_numpy(step.astype(np.float32)).to(dtype)
    wide = scale.float().numpy()
    zero = np.full(wide.shape, 8) if symmetric else np.clip(np.rint(-low / wide), 0, 15)
    if not symmetric:
        ends = rng.random(zero.shape)
        zero = np.where(ends < 0.1, 0, np.where(ends > 0.9, 15, zero))
    code = np.clip(np.rint(w / wide[:, :, None]) + zero[:, :, None], 0, 15)
    value = wide[:, :, None] * (code - zero[:, :, None]).astype(np.float32)
    return code.reshape(n, k).astype(np.uint32), zero.astype(np.uint32), scale, value.reshape(n, k)


def quantise_mxfp4(w):
    """Bytes of codes (n, k / 2), exponents (n, k / 32) and values: the nearest E2M1 to w / 2^(e - 127)."""
    size = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    n, k = w.shape
    w = w.reshape(n, k // 32, 32)
    e = 127 + np.floor(np.log2(np.abs(w).max(2))).astype(np.int32) - 2
    scale = np.exp2((e - 127).astype(np.float32))[:, :, None]
    code = np.abs(np.abs(w / scale)[..., None] - size).argmin(3)
    value = (np.where(w < 0, -1, 1) * size[code] * scale).astype(np.float32).reshape(n, k)
    code = (code | np.where(w < 0, 8, 0)).astype(np.uint8).reshape(n, k)
    return {"weight_packed": torch.from_numpy(code[:, ::2] | code[:, 1::2] << 4),
            "weight_scale": torch.from_numpy(e.astype(np.uint8))}, value


def words(a, axis, order=range(8)):
    """Eight neighbours along an axis as one word; order[i] is the one in the i-th lowest 4 bits."""
    a = np.moveaxis(a, axis, -1)
    a = np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, -a.shape[-1] % 8)])
    a = a.reshape(*a.shape[:-1], -1, 8)
    out = sum(a[..., j].astype(np.uint32) << np.uint32(4 * i) for i, j in enumerate(order))
    return np.moveaxis(out.astype(np.uint32), -1, axis)


def tensor(a):
    return torch.from_numpy(np.ascontiguousarray(a).view(np.int32))


def pack(form, code, zero, scale, index):
    """What a module has instead of its weight. index: the group of each input; None: the natural ones."""
    if form == "pack-quantized":
        out = {"weight_packed": tensor(words(code, 1)), "weight_scale": scale.contiguous(),
               "weight_shape": torch.tensor(code.shape)}
        if index is not None:
            out["weight_g_idx"] = tensor(index)
        if not (zero == 8).all():
            out["weight_zero_point"] = tensor(words(zero, 0))
        return out
    if form == "awq":
        return {"qweight": tensor(words(code.T, 1, AWQ_ORDER)), "qzeros": tensor(words(zero.T, 1, AWQ_ORDER)),
                "scales": scale.T.contiguous()}
    zeros = words(zero.T, 1)
    if form == "gptq":
        zeros = zeros - np.uint32(0x11111111)
    if index is None:
        index = np.arange(code.shape[1], dtype=np.int32) // (code.shape[1] // zero.shape[1])
    return {"qweight": tensor(words(code.T, 0)), "qzeros": tensor(zeros), "scales": scale.T.contiguous(),
            "g_idx": tensor(index)}


def order_of(path, k, kind, orders, rng):
    """The inputs of a module in the order in which they were quantised; those of its neighbours if shared."""
    shared = path.replace("k_proj", "q_proj").replace("v_proj", "q_proj").replace("up_proj", "gate_proj")
    key = shared if kind == "shared" else path
    if key not in orders:
        orders[key] = rng.permutation(k)
    return orders[key]


def config_of(form, group, symmetric, stay, more):
    if form == "awq":
        return dict(quant_method="awq", bits=4, group_size=group, zero_point=True, version="gemm",
                    modules_to_not_convert=stay)
    if form.endswith("pack-quantized"):
        weights = dict(num_bits=4, type="float" if form[0] == "m" else "int", symmetric=symmetric,
                       strategy="channel" if group < 0 else "group", group_size=None if group < 0 else group,
                       actorder="group" if "order" in more else None, dynamic=False)
        return dict(quant_method="compressed-tensors", format=form, ignore=stay,
                    quantization_status="compressed", kv_cache_scheme=None,
                    config_groups=dict(group_0=dict(targets=["Linear"], weights=weights,
                                                    input_activations=None, output_activations=None)))
    return dict(quant_method="gptq", bits=4, group_size=group, sym=symmetric, checkpoint_format=form,
                desc_act=more.get("desc_act", False), damp_percent=0.01, true_sequential=True)


def byte_bound(model, packed, ids, clean):
    gen = torch.Generator().manual_seed(5)

    def moved(x):
        most = x.reshape(*x.shape[:-1], -1, 32).abs().amax(-1, keepdim=True).expand(*x.shape[:-1], -1, 32)
        return x + (torch.rand(x.shape, generator=gen) * 2 - 1) * most.reshape(x.shape) / 127

    def moved_for(m, args):
        order = getattr(m, "order", None)
        return (moved(args[0]) if order is None else moved(args[0][..., order])[..., order.argsort()],)

    hooks = [m.register_forward_pre_hook(moved_for) for m in packed]
    hooks += expert_hooks(model, moved)
    worst = max((logits_of(model, ids).log_softmax(-1) - clean.log_softmax(-1)).abs().max().item()
                for _ in range(32))
    for h in hooks:
        h.remove()
    return worst


def make_model(name, seed):
    (config_class, model_class, config), form, group, symmetric, stay, more = MODELS[name]
    gen, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    c = config_class(**config, attn_implementation="eager", bos_token_id=1, eos_token_id=2)
    model = model_class(c).eval()
    randomise(model, gen)
    tensors, packed, orders = dict(model.state_dict()), [], {}
    if c.tie_word_embeddings:
        tensors.pop("lm_head.weight")
    for path, m in model.named_modules():
        if not isinstance(m, torch.nn.Linear) or any(path.endswith(s) for s in stay):
            continue
        if form == "mxfp4-pack-quantized":
            parts, value = quantise_mxfp4(m.weight.data.numpy())
        else:
            k, w, index = m.weight.shape[1], m.weight.data.numpy(), None
            size = k if group < 0 else group
            order = order_of(path, k, more["order"], orders, rng) if "order" in more else np.arange(k)
            code, zero, scale, value = quantise(w[:, order], size, symmetric,
                                                more.get("scales", torch.float16), rng)
            back = order.argsort()
            code, value = code[:, back], value[:, back]
            if "order" in more:
                index = (back // size).astype(np.int32)
                m.order = torch.from_numpy(index).argsort(stable=True)
            parts = pack(form, code, zero, scale, index)
        m.weight.data = torch.from_numpy(value)
        tensors.pop(path + ".weight")
        tensors.update({f"{path}.{part}": t for part, t in parts.items()})
        if more.get("no_bias"):
            tensors[path + ".bias"] = torch.zeros(m.weight.shape[0], dtype=torch.float16)
        packed.append(m)
    path = HERE / name
    path.mkdir(parents=True, exist_ok=True)
    save_file({k: t.clone() for k, t in tensors.items()}, path / "model.safetensors", dict(format="pt"))
    facts = dict(c.to_diff_dict(), architectures=[model_class.__name__],
                 quantization_config=config_of(form, group, symmetric, stay, more))
    (path / "config.json").write_text(json.dumps(facts, indent=1) + "\n")

    write_golden(name, model, packed, torch.randint(3, c.vocab_size, (N_ID,), generator=gen).tolist())


def make_gpt_oss(name, seed):
    gen, path = torch.Generator().manual_seed(seed), HERE / name
    c = GptOssConfig(**GPT_OSS, attn_implementation="eager", bos_token_id=1, eos_token_id=2)
    model = GptOssForCausalLM(c).eval()
    randomise(model, gen)
    set_limits(model)
    tensors = dict(model.state_dict())
    for key in [k for k in tensors if k.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        w = tensors.pop(key)  # (experts, inputs, outputs), the model's own memory
        parts = [quantise_mxfp4(w[e].T.numpy()) for e in range(len(w))]
        for e, (_, value) in enumerate(parts):
            w[e] = torch.from_numpy(value).T
        tensors[key + "_scales"] = torch.stack([p["weight_scale"] for p, _ in parts])
        codes = torch.stack([p["weight_packed"] for p, _ in parts])
        tensors[key + "_blocks"] = codes.view(*codes.shape[:2], -1, 16)
    path.mkdir(parents=True, exist_ok=True)
    save_file({k: t.clone() for k, t in tensors.items()}, path / "model.safetensors", dict(format="pt"))
    facts = dict(c.to_diff_dict(), architectures=["GptOssForCausalLM"],
                 quantization_config=dict(quant_method="mxfp4", modules_to_not_convert=[
                     "model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]))
    (path / "config.json").write_text(json.dumps(facts, indent=1) + "\n")
    write_golden(name, model, [], draw_ids(model, N_ID, gen))


def write_golden(name, model, packed, ids):
    logits = logits_of(model, ids)
    lp, bound = logprobs_of(logits, ids), byte_bound(model, packed, ids, logits)
    data = struct.pack(f"<i{N_ID}i{N_ID - 1}ff", N_ID, *ids, *lp.tolist(), bound)
    (HERE / name / "golden.bin").write_bytes(data)
    print(f"{name}: mean logprob {lp.mean():.3f}, logits +-{logits.abs().max():.1f}, byte bound {bound:.2e}")


if __name__ == "__main__":
    for i, name in enumerate(MODELS):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            make_model(name, 300 + i)
    if len(sys.argv) == 1 or "gptoss_mxfp4" in sys.argv[1:]:
        make_gpt_oss("gptoss_mxfp4", 400)
