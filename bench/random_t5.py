"""Writes a T5 v1.1 checkpoint of random bf16 weights, for timings of shapes that no shipped pair has.

For a timing only shapes matter, but values must not be zeros or denormals: weights are uniform in (-0.05,
0.05), norms 1. There is no tokenizer; weir bench needs none. Needs the standard library and NumPy.

    python3 bench/random_t5.py build/t5-large --dim 1024 --ff 2816 --heads 16 --layers 24
"""
import argparse
import json
import struct
from pathlib import Path

import numpy as np


def shapes(a):
    """Tensor names and shapes in file order."""
    inner = a.heads * a.head_dim
    yield "shared.weight", (a.vocab, a.dim)
    yield "lm_head.weight", (a.vocab, a.dim)
    for stack in ("encoder", "decoder"):
        for layer in range(a.layers):
            at = f"{stack}.block.{layer}.layer"
            parts = ["SelfAttention"] if stack == "encoder" else ["SelfAttention", "EncDecAttention"]
            for i, part in enumerate(parts):
                for name in "qkv":
                    yield f"{at}.{i}.{part}.{name}.weight", (inner, a.dim)
                yield f"{at}.{i}.{part}.o.weight", (a.dim, inner)
                yield f"{at}.{i}.layer_norm.weight", (a.dim,)
            if layer == 0:
                yield f"{at}.0.SelfAttention.relative_attention_bias.weight", (32, a.heads)
            i = len(parts)
            yield f"{at}.{i}.DenseReluDense.wi_0.weight", (a.ff, a.dim)
            yield f"{at}.{i}.DenseReluDense.wi_1.weight", (a.ff, a.dim)
            yield f"{at}.{i}.DenseReluDense.wo.weight", (a.dim, a.ff)
            yield f"{at}.{i}.layer_norm.weight", (a.dim,)
        yield f"{stack}.final_layer_norm.weight", (a.dim,)


def values(shape, rng):
    """bf16 bit patterns of one tensor."""
    n = int(np.prod(shape))
    x = np.ones(n, np.float32) if len(shape) == 1 else rng.random(n, np.float32) * 0.1 - 0.05
    return (x.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--dim", type=int, default=512)
    p.add_argument("--ff", type=int, default=1024)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--head-dim", type=int, default=64)
    p.add_argument("--layers", type=int, default=8)
    p.add_argument("--vocab", type=int, default=32128)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    header, end = {}, 0
    for name, shape in shapes(a):
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(a.seed)
    with open(a.out / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in shapes(a):
            f.write(values(shape, rng))
    config = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True,
              "d_model": a.dim, "d_kv": a.head_dim, "d_ff": a.ff, "num_heads": a.heads,
              "num_layers": a.layers, "num_decoder_layers": a.layers, "vocab_size": a.vocab,
              "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0,
              "pad_token_id": 0, "eos_token_id": 1}
    (a.out / "config.json").write_text(json.dumps(config, indent=1))
    print(f"{a.out}: {end / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
