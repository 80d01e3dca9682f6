#!/usr/bin/env python3
"""Writes tests/fuzz/seeds/<target>/: small valid inputs, and near-valid ones, from which mutation starts.

    python3 tests/fuzz/make_seeds.py
"""
import json
import pathlib
import shutil
import struct

ROOT = pathlib.Path(__file__).parents[2]
SEEDS = pathlib.Path(__file__).parent / "seeds"


def put(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(tensors, n_data, **extra):
    header = json.dumps({**extra, **tensors}, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + bytes(n_data)


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


shutil.rmtree(SEEDS, ignore_errors=True)

put("safetensors", "empty", safetensors({}, 0))
put("safetensors", "one", safetensors({"shared.weight": entry("BF16", [2, 2], 0, 8)}, 8))
put("safetensors", "several", safetensors(
    {"b": entry("F32", [2, 3], 4, 28), "a": entry("F16", [2], 0, 4), "e": entry("U8", [0, 9], 28, 28), "s": entry("I64", [], 28, 36)},
    36, __metadata__={"format": "pt"}))
put("safetensors", "unknown_dtype", safetensors({"x": entry("F3_E1M1", [5], 0, 2)}, 2))
put("safetensors", "overlap", safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, 6))
put("safetensors", "overflow", safetensors({"a": entry("F32", [2**62, 4], 0, 0)}, 0))

put("index", "both", json.dumps({"metadata": {"total_size": 4}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
put("index", "one", '{"weight_map":{"x":"b.safetensors"}}')
put("index", "outside", '{"weight_map":{"x":"../a.safetensors"}}')
put("index", "missing", '{"weight_map":{"z":"a.safetensors","x":"c.safetensors"}}')

for i, name in enumerate(["config", "generation_config", "tokenizer_config"]):
    put("config", name, bytes([i]) + (ROOT / f"models/demo/verifier/{name}.json").read_bytes())
put("config", "minimal", b'\0{"model_type":"t5"}')
put("config", "mt5", b'\0{"model_type":"mt5","eos_token_id":[1,2],"pad_token_id":null,"decoder_start_token_id":3}')
put("config", "original", b'\0' + json.dumps(dict(
    architectures=["T5ForConditionalGeneration"], model_type="t5", d_model=24, d_kv=5, num_heads=3, d_ff=40, num_layers=2,
    vocab_size=101, relative_attention_num_buckets=8, relative_attention_max_distance=20, layer_norm_epsilon=1e-6,
    feed_forward_proj="relu", tie_word_embeddings=True, task_specific_params={"a": {"num_beams": 4}})).encode())
put("config", "generation", b'\1{"eos_token_id":[1,2],"num_beams":1,"repetition_penalty":1.0,"bad_words_ids":[],"do_sample":true}')
put("config", "tokenizer", b'\2{"tokenizer_class":"LlamaTokenizer","extra_ids":3}')

for name in ["tiny_unigram", "tiny_bpe"]:
    put("spm", name, (ROOT / f"tests/golden/tokenizer/{name}.model").read_bytes())

put("text", "plain", "The weather is nice today. Es hat viel geschneit, \u00dcbermut \u00df.")
put("text", "sentinels", "The <extra_id_0> walks  <extra_id_12>in <extra_id_99> <extra_id_100> <extra_id_")
put("text", "scripts", "\u6211\u60f3\u5b66\u4e60 \U0001f600 \u0645\u0631\u062d\u0628\u0627 \u3000\u00a0\u2581\u2581 e\u0301\ufb01")
put("text", "broken", b"\xff\xc3 \xe2\x82 a\x00b \xed\xa0\x80 \xf4\x90\x80\x80")
put("text", "long", b"\xe4\xb8\xad" * 1600 + b" tail" + b"\xff" * 600)
put("text", "ids", struct.pack("<8i", 0, 1, 2, 4, 100, 249, 5987, -1))

# a byte for the format and the end, then messages: a byte for the role, content, zero
TALKS = {"system": [(0, "Be brief."), (1, "Hi"), (2, "Hello!"), (1, " How are you? ")], "one": [(1, "  \u00a0\u3000Hi\n ")],
         "thinking": [(1, "q"), (2, "<think>\nhm\n</think>\n\nYes"), (1, "<tool_response>4</tool_response>")],
         "markup": [(1, "<|im_end|>\n<|im_start|>system\n[INST] <<SYS>>"), (2, "<end_of_turn>")]}
for i in range(11):
    name, talk = list(TALKS.items())[i % 4]
    put("chat", f"talk_{i}_{name}", bytes([2 * i + 1]) + b"".join(bytes([role]) + text.encode() + b"\0" for role, text in talk))
put("chat", "jinja_chatml", "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}")
put("chat", "jinja_llama", "{{ bos_token }}Cutting Knowledge Date: December 2023{{ '<|start_header_id|><|end_header_id|>' + m | trim + '<|eot_id|>' }}")
put("chat", "jinja_gemma", "{{ bos_token }}{{ '<start_of_turn>model\\n' + m.content | trim + '<end_of_turn>' }}")
put("chat", "jinja_llama2", "{{ '[INST] <<SYS>>\\n' + s + '<</SYS>>' + m.strip() + ' [/INST]' }}")
