#!/usr/bin/env python3
"""Golden rotary frequencies from transformers' modeling_rope_utils, for tests/models/test_decoder_load.c.

    python3 tests/golden/make_rope.py        (torch, transformers 4.57)

Writes tests/golden/rope/tables.txt, one table per line:

    rope_type theta factor low_freq high_freq beta_fast beta_slow n_ctx_original attention_factor n_dim,
    then the scale of cos and sin and the frequencies (n_dim / 2)

A field that a type does not have is 0; yarn without truncation is called untruncated. Settings are published
ones (Llama 3.1 and 3.2, Qwen2.5 and Qwen3 beyond 32,768 tokens, the YaRN paper's Llama 2, gpt-oss), then
ramps that begin at dimension 0, would end past the last, are one dimension wide or have no width, and an
attention factor of its own.
"""
import pathlib

from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = pathlib.Path(__file__).parent / "rope" / "tables.txt"


def trained(n):
    return {"original_max_position_embeddings": n}


TABLES = [  # rope_type, theta, n_dim, the rest of rope_scaling
    ("default", 1e4, 64, {}),
    ("linear", 1e6, 256, dict(factor=8.0)),
    ("llama3", 5e5, 128, dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, **trained(8192))),
    ("llama3", 5e5, 64, dict(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, **trained(8192))),
    ("yarn", 1e6, 128, dict(factor=4.0, **trained(32768))),
    ("yarn", 1e4, 128, dict(factor=16.0, **trained(4096))),
    ("yarn", 1e6, 64, dict(factor=2.0, **trained(40960), beta_fast=16.0, beta_slow=2.0)),
    ("yarn", 1e4, 24, dict(factor=4.0, **trained(128))),
    ("yarn", 1e2, 32, dict(factor=4.0, **trained(131072), beta_fast=1e3)),
    ("yarn", 1e4, 128, dict(factor=8.0, **trained(2048), beta_fast=4.0, beta_slow=4.0)),
    ("yarn", 1e4, 32, dict(factor=8.0, **trained(6))),
    ("yarn", 1e6, 80, dict(factor=40.0, **trained(4096), attention_factor=0.75)),
    ("yarn", 15e4, 64, dict(factor=32.0, **trained(4096), truncate=False)),  # gpt-oss
    ("yarn", 1e4, 24, dict(factor=4.0, **trained(128), truncate=False)),
]


def line(kind, theta, n_dim, scaling):
    config = LlamaConfig(hidden_size=n_dim, num_attention_heads=1, head_dim=n_dim, rope_theta=theta,
                         max_position_embeddings=131072)
    config.rope_scaling = dict(scaling, rope_type=kind)
    freq, attention = ROPE_INIT_FUNCTIONS[kind](config, None)
    yarn = kind == "yarn"
    fields = [theta, scaling.get("factor", 1.0), scaling.get("low_freq_factor", 0),
              scaling.get("high_freq_factor", 0), scaling.get("beta_fast", 32.0) if yarn else 0,
              scaling.get("beta_slow", 1.0) if yarn else 0,
              scaling.get("original_max_position_embeddings", 0), scaling.get("attention_factor", 0), n_dim]
    numbers = [*fields, attention, *freq.tolist()]
    if not scaling.get("truncate", True):
        kind = "untruncated"
    return " ".join([kind, *(f"{x:.9g}" for x in numbers)])


if __name__ == "__main__":
    OUT.write_text("".join(line(*t) + "\n" for t in TABLES), encoding="utf-8")
