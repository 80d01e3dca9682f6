"""Writes a decoder-only pair: Llama's shape, random weights, a tokenizer of tests/golden and a chat template.
Its texts mean nothing, but every number of an answer can be checked."""
import array
import json
import math
import random
import struct

TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def shapes(vocab, dim, ff, layers, heads, kv_heads, head_dim):
    yield "model.embed_tokens.weight", (vocab, dim)
    yield "lm_head.weight", (vocab, dim)
    for i in range(layers):
        at = f"model.layers.{i}."
        yield at + "input_layernorm.weight", (dim, )
        yield at + "post_attention_layernorm.weight", (dim, )
        yield at + "self_attn.q_proj.weight", (heads * head_dim, dim)
        yield at + "self_attn.k_proj.weight", (kv_heads * head_dim, dim)
        yield at + "self_attn.v_proj.weight", (kv_heads * head_dim, dim)
        yield at + "self_attn.o_proj.weight", (dim, heads * head_dim)
        yield at + "mlp.gate_proj.weight", (ff, dim)
        yield at + "mlp.up_proj.weight", (ff, dim)
        yield at + "mlp.down_proj.weight", (dim, ff)
    yield "model.norm.weight", (dim, )


def write_weights(path, named_shapes, rng):
    """safetensors: the length of a JSON header, the header, the tensors. Rows of lm_head are long, so that
    some tokens are much likelier than others."""
    header, parts, end = {}, [], 0
    for name, shape in named_shapes:
        scale = (3.0 if name == "lm_head.weight" else 1.0) / math.sqrt(shape[-1])
        n = math.prod(shape)
        x = [1.0] * n if len(shape) == 1 else [rng.gauss(0.0, scale) for _ in range(n)]
        parts.append(array.array("f", x).tobytes())
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + len(parts[-1])]}
        end += len(parts[-1])
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def write_model(root, out, dim, layers, seed):
    out.mkdir()
    tokenizer = json.loads((root / "tests/golden/tokenizer/tiny_qwen2.json").read_text())
    ids = {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    vocab = 1 + max(ids.values())
    heads, kv_heads, head_dim, ff = 4, 2, 16, 3 * dim
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": dim,
        "intermediate_size": ff,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": ids["<|end|>"],
        "dtype": "float32",
    }
    texts = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "bos_token": None,
        "model_max_length": 2048, "chat_template": TEMPLATE
    }
    (out / "config.json").write_text(json.dumps(config))
    (out / "tokenizer_config.json").write_text(json.dumps(texts))
    (out / "tokenizer.json").write_text(json.dumps(tokenizer))
    named_shapes = shapes(vocab, dim, ff, layers, heads, kv_heads, head_dim)
    write_weights(out / "model.safetensors", named_shapes, random.Random(seed))


def write(root, folder):
    """The directories of the verifier and the drafter."""
    write_model(root, folder / "verifier", 64, 2, 1)
    write_model(root, folder / "drafter", 32, 1, 2)
    return folder / "verifier", folder / "drafter"
