#!/usr/bin/env python3
"""Writes tests/fuzz/seeds/<target>/: small valid inputs, and near-valid ones, from which mutation starts.

    python3 tests/fuzz/make_seeds.py
"""
import json
import math
import pathlib
import shutil
import struct

ROOT = pathlib.Path(__file__).parents[2]
SEEDS = pathlib.Path(__file__).parent / "seeds"


def put(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(tensors, data, **extra):
    """data: bytes, or how many zeros."""
    header = json.dumps({**extra, **tensors}, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + (data if isinstance(data, bytes) else bytes(data))


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q",
           F64: "d"}


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def value(kind, v):
    return text(v) if kind == STRING else struct.pack("<" + FORMATS[kind], v)


def pair(key, kind, v):
    if isinstance(v, list):
        return text(key) + struct.pack("<IIQ", ARRAY, kind, len(v)) + b"".join(value(kind, x) for x in v)
    return text(key) + struct.pack("<I", kind) + value(kind, v)


def gguf(pairs, tensors, version=3, alignment=32):
    """Tensors are (name, type, shape, bytes)."""
    infos, data = b"", b""
    for name, kind, shape, size in tensors:
        data += bytes(-len(data) % alignment)
        infos += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(data))
        data += b"\0\0\x80\x3f" * (size // 4) + bytes(size % 4)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors),
                                 len(pairs)) + b"".join(pair(*p) for p in pairs) + infos
    return head + bytes(-len(head) % alignment) + data if tensors else head


def gguf_model(arch, *more, skip=()):
    """One layer of width 4: two heads of 2, one of keys and values."""
    sizes = dict(embedding_length=4, block_count=1, feed_forward_length=3, context_length=8)
    heads = {"attention.head_count": 2, "attention.head_count_kv": 1}
    pairs = [("general.architecture", STRING, arch)]
    pairs += [(f"{arch}.{k}", U32, v) for k, v in {**sizes, **heads}.items()]
    pairs += [(f"{arch}.attention.layer_norm_rms_epsilon", F32, 1e-6)]
    pairs += [("tokenizer.ggml.model", STRING, "llama"),
              ("tokenizer.ggml.tokens", STRING, ["<s>", "a", "<eos>"])]
    pairs += [(k if k.startswith("tokenizer.") else f"{arch}.{k}", t, v) for k, t, v in more]
    f32 = [("token_embd.weight", [4, 3]), ("output_norm.weight", [4]), ("blk.0.attn_norm.weight", [4]),
           ("blk.0.attn_q.weight", [4, 4]), ("blk.0.ffn_norm.weight", [4]), ("rope_freqs.weight", [1])]
    tensors = [(n, 0, s, 4 * s[0] * (s[1] if len(s) > 1 else 1)) for n, s in f32 if n not in skip]
    return gguf(pairs, tensors)


shutil.rmtree(SEEDS, ignore_errors=True)

put("safetensors", "empty", safetensors({}, 0))
put("safetensors", "one", safetensors({"shared.weight": entry("BF16", [2, 2], 0, 8)}, 8))
put("safetensors", "several", safetensors(
    {"b": entry("F32", [2, 3], 4, 28), "a": entry("F16", [2], 0, 4), "e": entry("U8", [0, 9], 28, 28),
     "s": entry("I64", [], 28, 36)},
    36, __metadata__={"format": "pt"}))


def codes(prefix="a.", **parts):
    """Parts of matrices: name: dtype and shape, and what is in it where that is not a row of bytes."""
    size = {"I32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1, "F32": 4}
    data, tensors = b"", {}
    for name, (dtype, shape, *given) in parts.items():
        n = size[dtype] * math.prod(shape)
        tensors[prefix + name] = entry(dtype, shape, len(data), len(data) + n)
        data += given[0] if given else bytes((37 * i + 11) % 251 for i in range(n))
    return safetensors(tensors, data)


put("safetensors", "gptq", codes(qweight=("I32", [8, 8]), scales=("F16", [2, 8]), qzeros=("I32", [2, 1])))
put("safetensors", "gptq_rows", codes(qweight=("I32", [4, 8]), scales=("F16", [1, 8]), qzeros=("I32", [1, 1]),
                                      g_idx=("I32", [32], bytes(128))))
ORDER = struct.pack("<64i", *[i % 2 for i in range(64)])
put("safetensors", "gptq_act_order", codes(qweight=("I32", [8, 8]), scales=("F16", [2, 8]),
                                           qzeros=("I32", [2, 1]), g_idx=("I32", [64], ORDER)))
put("safetensors", "packed_act_order", codes(weight_packed=("I32", [5, 8]), weight_scale=("BF16", [5, 2]),
                                             weight_g_idx=("I32", [64], ORDER)))
put("safetensors", "awq", codes(qweight=("I32", [64, 1]), scales=("BF16", [2, 8]), qzeros=("I32", [2, 1])))
put("safetensors", "packed", codes(weight_packed=("I32", [5, 8]), weight_scale=("BF16", [5, 2]),
                                   weight_zero_point=("I32", [1, 2])))
put("safetensors", "mxfp4", codes(weight_packed=("U8", [3, 32]), weight_scale=("U8", [3, 2])))
put("safetensors", "unknown_dtype", safetensors({"x": entry("F3_E1M1", [5], 0, 2)}, 2))
put("safetensors", "overlap", safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, 6))
put("safetensors", "overflow", safetensors({"a": entry("F32", [2**62, 4], 0, 0)}, 0))

EXPERTS = "m.mlp.experts."
put("stacks", "floats", codes(EXPERTS, gate_up_proj=("BF16", [2, 5, 6]), down_proj=("BF16", [2, 3, 5])))
put("stacks", "biases", codes(EXPERTS, gate_up_proj_bias=("F32", [3, 4]), down_proj_bias=("F16", [3, 5])))
put("stacks", "blocks", codes(EXPERTS, gate_up_proj_blocks=("U8", [2, 4, 1, 16]),
                              gate_up_proj_scales=("U8", [2, 4, 1]), down_proj_blocks=("U8", [2, 3, 2, 16]),
                              down_proj_scales=("U8", [2, 3, 2])))
put("stacks", "twice", codes(EXPERTS, down_proj=("F32", [1, 2, 2]), down_proj_blocks=("U8", [1, 2, 1, 16]),
                             down_proj_scales=("U8", [1, 2, 1])))
put("stacks", "no_scales", codes(EXPERTS, gate_up_proj_blocks=("U8", [1, 2, 1, 16])))
put("stacks", "no_experts", codes(EXPERTS, gate_up_proj=("F32", [0, 2**30, 2**30])))
put("stacks", "no_inputs", codes(EXPERTS, down_proj_blocks=("U8", [2**29, 2**29, 0, 16]),
                                 down_proj_scales=("U8", [2**29, 2**29, 0])))

put("index", "both",
    json.dumps({"metadata": {"total_size": 4}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
put("index", "one", '{"weight_map":{"x":"b.safetensors"}}')
put("index", "outside", '{"weight_map":{"x":"../a.safetensors"}}')
put("index", "missing", '{"weight_map":{"z":"a.safetensors","x":"c.safetensors"}}')

for i, name in enumerate(["config", "generation_config", "tokenizer_config"]):
    put("config", name, bytes([i]) + (ROOT / f"models/demo/verifier/{name}.json").read_bytes())
put("config", "minimal", b'\0{"model_type":"t5"}')
put("config", "numbers",
    b'\3{"model_type":"llama","a":1000000000000000019884624838656,"b":-1e400,"c":NaN,"d":"\\u0000","d":1}')
put("config", "variants",
    b'\3{"model_type":"mistral","unsloth_fixed":true,"auto_map":{},"rope_scaling":{"type":"yarn",'
    b'"factor":2,"finetuned":true},"quantization_config":null,"norm_eps":1e-6,'
    b'"architectures":["MistralForCausalLM"]}')
LLAMA = b'\3{"model_type":"llama","quantization_config":{"quant_method":'
put("config", "gptq", LLAMA + b'"gptq","bits":4,"group_size":64,"checkpoint_format":"gptq_v2"}}')
put("config", "awq", LLAMA + b'"awq","bits":4,"group_size":-1,"version":"gemm"}}')
put("config", "packed", LLAMA + b'"compressed-tensors","format":"pack-quantized","config_groups":{"a":'
    b'{"weights":{"num_bits":4,"type":"int","group_size":32}}}}}')
put("config", "strict", b'\x09{"model_type":"llama","num_experts":0}')
put("config", "special", b'\2{"bos_token":{"content":"<s>"},"added_tokens_decoder":{}}')
put("config", "mt5",
    b'\0{"model_type":"mt5","eos_token_id":[1,2],"pad_token_id":null,"decoder_start_token_id":3}')
put("config", "original", b'\0' + json.dumps(dict(
    architectures=["T5ForConditionalGeneration"], model_type="t5", d_model=24, d_kv=5, num_heads=3, d_ff=40,
    num_layers=2, vocab_size=101, relative_attention_num_buckets=8, relative_attention_max_distance=20,
    layer_norm_epsilon=1e-6, feed_forward_proj="relu", tie_word_embeddings=True,
    task_specific_params={"a": {"num_beams": 4}})).encode())
put("config", "generation",
    b'\1{"eos_token_id":[1,2],"num_beams":1,"repetition_penalty":1.0,"bad_words_ids":[],"do_sample":true}')
put("config", "tokenizer", b'\2{"tokenizer_class":"LlamaTokenizer","extra_ids":3}')
put("config", "llama", b'\3'
    b'{"model_type":"llama","architectures":["LlamaForCausalLM"],"head_dim":64,'
    b'"hidden_act":"silu","hidden_size":2048,"num_attention_heads":32,"num_key_value_heads":8,'
    b'"rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,'
    b'"original_max_position_embeddings":8192,"rope_type":"llama3"},"rope_theta":500000.0,'
    b'"eos_token_id":[1,8]}')
put("config", "gemma3", b'\3'
    b'{"model_type":"gemma3_text","layer_types":["sliding_attention","full_attention"],'
    b'"num_hidden_layers":2,"sliding_window":4,"query_pre_attn_scalar":16,'
    b'"rope_local_base_freq":10000.0,'
    b'"rope_parameters":{"full_attention":{"rope_type":"linear","factor":8.0,'
    b'"rope_theta":1e6},"sliding_attention":{"rope_type":"default"}}}')
put("config", "mixtral", b'\3'
    b'{"model_type":"mixtral","num_local_experts":4,"num_experts_per_tok":2,"intermediate_size":64,'
    b'"router_jitter_noise":0.0,"sliding_window":null}')
put("config", "qwen2_moe", b'\3'
    b'{"model_type":"qwen2_moe","num_hidden_layers":6,"num_experts":6,"num_experts_per_tok":4,'
    b'"moe_intermediate_size":17,"shared_expert_intermediate_size":35,"decoder_sparse_step":2,'
    b'"mlp_only_layers":[1,99],"norm_topk_prob":true,"qkv_bias":false}')
put("config", "qwen2", b'\3'
    b'{"model_type":"qwen2","use_sliding_window":true,"max_window_layers":2,'
    b'"sliding_window":16,"rope_scaling":{"type":"yarn","factor":4.0,"beta_fast":16,'
    b'"mscale":0.7,"mscale_all_dim":1,"original_max_position_embeddings":32768}}')
put("config", "gemma3_eyes", b'\3'
    b'{"model_type":"gemma3","text_config":{"model_type":"gemma3_text",'
    b'"rope_scaling":{"rope_type":"linear","factor":8}},"vision_config":{},"eos_token_id":[1,'
    b'106]}')
put("config", "phi3", b'\3'
    b'{"model_type":"phi3","hidden_size":32,"num_attention_heads":2,"partial_rotary_factor":0.75,'
    b'"original_max_position_embeddings":128,"sliding_window":9,"rope_scaling":{"type":"su",'
    b'"short_factor":[1,1,1,1,1.5,2],"long_factor":[1,2,3,4,5,6.5]}}')
put("config", "granite", b'\3'
    b'{"model_type":"granite","embedding_multiplier":12,"attention_multiplier":0.0625,'
    b'"residual_multiplier":0.22,"logits_scaling":8}')
put("config", "smollm3", b'\3'
    b'{"model_type":"smollm3","num_hidden_layers":2,"no_rope_layers":[1,0],"use_sliding_window":true,'
    b'"sliding_window":4,"no_rope_layer_interval":2}')
put("config", "olmo2", b'\3{"model_type":"olmo2","rope_scaling":{"type":"linear","factor":2.0}}')
put("config", "t5gemma", b'\3'
    b'{"model_type":"t5gemma","encoder":{"hidden_size":64,"sliding_window":7,"vocab_size":50},'
    b'"decoder":{"cross_attention_hidden_size":64,"num_hidden_layers":2,"bos_token_id":4,'
    b'"tie_word_embeddings":false},"vocab_size":50,"tie_word_embeddings":false,'
    b'"decoder_start_token_id":9}')
put("config", "generation_decoder", b'\4'
    b'{"bos_token_id":1,"eos_token_id":[2,3],"pad_token_id":0,"repetition_penalty":1.1,'
    b'"temperature":0.7}')
put("config", "tokenizer_decoder", b'\5'
    b'{"add_bos_token":true,"tokenizer_class":"LlamaTokenizerFast",'
    b'"chat_template":[{"name":"default","template":"{{ a }}"}]}')

put("gguf", "empty", gguf([], []))
put("gguf", "scalars", gguf([("u8", U8, 7), ("i8", I8, -7), ("u16", U16, 7), ("i16", I16, -7),
                             ("u32", U32, 7), ("i32", I32, -7), ("u64", U64, 7), ("i64", I64, -7),
                             ("f32", F32, 0.5), ("f64", F64, 0.25), ("bool", BOOL, True),
                             ("text", STRING, "a b")], [], 2))
put("gguf", "arrays", gguf([("u8s", U8, [1, 2]), ("i32s", I32, [-1]), ("u64s", U64, []), ("f64s", F64, [1.5]),
                            ("bools", BOOL, [True, False]), ("texts", STRING, ["", "a", "bc"])], []))
put("gguf", "tensors", gguf([("general.alignment", U32, 8)],
                            [("q8", 8, [32, 2], 68), ("f16", 1, [3], 6), ("q4k", 12, [256], 144),
                             ("cube", 24, [2, 2, 2], 8)],
                            alignment=8))


def gguf_t5():
    """A layer of each stack, of width 4: two heads of 2, a gate; four pieces and two sentinels."""
    sizes = dict(embedding_length=4, block_count=1, feed_forward_length=3, context_length=8)
    sizes |= {"attention.head_count": 2, "attention.relative_buckets_count": 4, "decoder_start_token_id": 0}
    ggml = "tokenizer.ggml."
    tokens = ["<pad>", "</s>", "<unk>", "\u2581a", "<extra_id_1>", "<extra_id_0>", "[PAD6]"]
    pairs = [("general.architecture", STRING, "t5")] + [(f"t5.{k}", U32, v) for k, v in sizes.items()]
    pairs += [("t5.attention.layer_norm_rms_epsilon", F32, 1e-6), (ggml + "model", STRING, "t5"),
              (ggml + "tokens", STRING, tokens), (ggml + "scores", F32, [-float(i) for i in range(7)]),
              (ggml + "token_type", I32, [3, 3, 2, 1, 4, 4, 5]), (ggml + "eos_token_id", U32, 1),
              (ggml + "padding_token_id", U32, 0), (ggml + "add_space_prefix", BOOL, True),
              (ggml + "remove_extra_whitespaces", BOOL, True), (ggml + "add_eos_token", BOOL, True)]
    f32 = [("token_embd.weight", [4, 7]), ("output.weight", [4, 7]), ("enc.output_norm.weight", [4]),
           ("enc.blk.0.attn_rel_b.weight", [2, 4]), ("enc.blk.0.ffn_gate.weight", [4, 3]),
           ("dec.blk.0.cross_attn_q.weight", [4, 4]), ("dec.blk.0.cross_attn_rel_b.weight", [2, 4])]
    return gguf(pairs, [(n, 0, s, 4 * s[0] * (s[1] if len(s) > 1 else 1)) for n, s in f32])


put("gguf", "t5", gguf_t5())
put("tokenizer_gguf", "t5", gguf_t5())


def gguf_part(no, count, total, tensors, *pairs):
    split = [("split.no", U16, no), ("split.count", U16, count), ("split.tensors.count", I32, total)]
    part = gguf(list(pairs) + split, tensors)
    return struct.pack("<I", len(part)) + part


put("gguf_parts", "two", gguf_part(0, 2, 3, [("b", 0, [2], 8)], ("general.architecture", STRING, "llama"))
    + gguf_part(1, 2, 3, [("c", 1, [3], 6), ("a", 2, [32], 18)]))
put("gguf_parts", "three", gguf_part(0, 3, 2, []) + gguf_part(1, 3, 2, [("b", 0, [2], 8)])
    + gguf_part(2, 3, 2, [("a", 0, [1], 4)]))
put("gguf_parts", "alone", gguf_part(0, 1, 1, [("a", 0, [1], 4)]))
put("gguf", "llama", gguf_model("llama", ("rope.scale_linear", F32, 2.0),
                                ("tokenizer.ggml.bos_token_id", U32, 0)))
put("gguf", "qwen2", gguf_model("qwen2", ("rope.scaling.type", STRING, "yarn"),
                                ("rope.scaling.factor", F32, 4.0),
                                ("tokenizer.chat_template", STRING, "{{x}}"), skip=["rope_freqs.weight"]))
put("gguf", "gemma2", gguf_model("gemma2", ("attention.sliding_window", U32, 4),
                                 ("final_logit_softcapping", F32, 30.0), skip=["rope_freqs.weight"]))
put("gguf", "gemma3", gguf_model("gemma3", ("attention.sliding_window", U32, 4),
                                 ("attention.sliding_window_pattern", BOOL, [True]),
                                 ("rope.freq_base", F32, 1e6), skip=["rope_freqs.weight"]))
put("gguf", "phi3", gguf_model("phi3", ("attention.sliding_window", U32, 4), ("rope.dimension_count", U32, 2),
                               ("rope.scaling.attn_factor", F32, 1.0),
                               skip=["rope_freqs.weight", "blk.0.attn_q.weight"]))
put("gguf", "granite", gguf_model("granite", ("embedding_scale", F32, 12.0), ("residual_scale", F32, 0.22),
                                  ("logit_scale", F32, 8.0), ("attention.scale", F32, 0.5),
                                  ("rope.scaling.finetuned", BOOL, True)))

for name in ["tiny_unigram", "tiny_bpe"]:
    put("spm", name, (ROOT / f"tests/golden/tokenizer/{name}.model").read_bytes())

MODEL = {"type": "BPE",
         "vocab": {c: i for i, c in enumerate(["a", "b", "\u0120", "ab", "\u0120a", "<unk>", "<0x0A>",
                                               "\u2581"])}, "merges": ["a b", ["\u0120", "a"]]}
put("tokenizer_json", "smallest", json.dumps({"model": MODEL}))
put("tokenizer_json", "added",
    json.dumps({"model": {**MODEL, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                          "ignore_merges": True}, "added_tokens": [
{"id": 9, "content": "<|end|>", "special": True, "lstrip": True, "rstrip": True, "normalized": False},
{"id": 8, "content": "nice", "single_word": True, "normalized": True}]}))
put("tokenizer_json", "split",
    json.dumps({"model": MODEL, "normalizer": {"type": "Sequence",
                                               "normalizers": [{"type": "NFC"},
                                                               {"type": "Prepend", "prepend": "a"}]},
"pre_tokenizer": {"type": "Sequence",
                  "pretokenizers": [{"type": "Split",
                                     "pattern": {"Regex": "(?i:'s)|[^\\s\\p{L}]?\\p{Lu}+"
                                                          "|\\s+(?!\\S)|\\x{41}{1,3}"},
"behavior": "MergedWithPrevious", "invert": False}, {"type": "Digits", "individual_digits": True},
{"type": "Punctuation", "behavior": "Contiguous"},
{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]}, "decoder": {"type": "ByteLevel"}}))
put("tokenizer_json", "metaspace",
    json.dumps({"model": MODEL, "normalizer": {"type": "Replace", "pattern": {"String": " "},
                                               "content": "\u2581"},
"pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True},
"decoder": {"type": "Sequence", "decoders": [
{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}))
for name in ["tiny_qwen2", "tiny_llama2"]:
    put("tokenizer_json", name, (ROOT / f"tests/golden/tokenizer/{name}.json").read_bytes())
for name in ["tiny_smollm", "tiny_deepseek", "tiny_llama2", "tiny_gemma"]:
    put("tokenizer_gguf", name, (ROOT / f"tests/golden/tokenizer/{name}.gguf").read_bytes())

UNIGRAM = {"type": "Unigram", "unk_id": 0, "byte_fallback": True,
           "vocab": [["<unk>", 0], ["\u2581", -2], ["\u2581a", -1.5], ["ab", -3], ["b", -2.5],
                     ["<0x63>", -9]]}
put("tokenizer_json", "unigram",
    json.dumps({"model": UNIGRAM, "normalizer": {"type": "Sequence", "normalizers": [
{"type": "Precompiled", "precompiled_charsmap": "CAAAAAAEAAAAAAAAYQA="}, {"type": "Nmt"}, {"type": "NFKC"},
{"type": "Lowercase"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": True, "strip_right": True},
{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}]},
"pre_tokenizer": {"type": "Sequence",
                  "pretokenizers": [{"type": "WhitespaceSplit"},
                                    {"type": "Metaspace", "replacement": "\u2581",
                                     "prepend_scheme": "first"}]},
"decoder": {"type": "Sequence", "decoders": [{"type": "Metaspace", "replacement": "\u2581"},
                                             {"type": "Strip", "content": "a", "start": 1, "stop": 2}]},
"added_tokens": [{"id": 6, "content": "<b>", "normalized": True, "lstrip": True, "rstrip": True,
                  "single_word": True}]}))
for name in ("flags", "unigram"):
    put("tokenizer_json", f"added_{name}", (ROOT / f"tests/golden/added/{name}/tokenizer.json").read_bytes())
put("text", "flags", "k0 k1\u200dk2  k3\n\nk4abXcd bcd \u4e2d\u6587 k9</s>")

# a template, zero, then messages as of chat
SAID = (b"\0\x00Be brief.\0\x01 Hi <|im_end|>\n\0\x02<think>\nhm\n</think>\n\nYes"
        b"\0\x01\xff\xc3 \xe2\x82\0\x03{}")
JINJA = ROOT / "tests/golden/jinja"
for name in ["qwen3", "llama31", "mistral_v3", "glm4_moe", "gpt_oss", "command_r_tool_macros", "functionary",
             "call_block", "whitespace_heavy", "json_conversation", "length_budget", "grouped_by_role"]:
    put("jinja", name, (JINJA / f"templates/{name}.jinja").read_bytes() + SAID)
CASES = [case.replace("⏎", "\n") for case, made in zip((JINJA / "cases.txt").read_text().split("\n"),
                                                       (JINJA / "cases.jsonl").read_text().split("\n"))
         if '"text"' in made[:8]]
for i in range(0, len(CASES), 60):
    put("jinja", f"cases{i // 60}", "\n".join(CASES[i:i + 60]).encode() + SAID)

put("text", "plain", "The weather is nice today. Es hat viel geschneit, \u00dcbermut \u00df.")
put("text", "sentinels", "The <extra_id_0> walks  <extra_id_12>in <extra_id_99> <extra_id_100> <extra_id_")
put("text", "scripts",
    "\u6211\u60f3\u5b66\u4e60 \U0001f600 \u0645\u0631\u062d\u0628\u0627 \u3000\u00a0\u2581\u2581 "
    "e\u0301\ufb01")
put("text", "broken", b"\xff\xc3 \xe2\x82 a\x00b \xed\xa0\x80 \xf4\x90\x80\x80")
put("text", "long", b"\xe4\xb8\xad" * 1600 + b" tail" + b"\xff" * 600)
put("text", "ids", struct.pack("<8i", 0, 1, 2, 4, 100, 249, 5987, -1))

# a byte for the format and the end, then messages: a byte for the role, content, zero
TALKS = {"system": [(0, "Be brief."), (1, "Hi"), (2, "Hello!"), (1, " How are you? ")],
         "one": [(1, "  \u00a0\u3000Hi\n ")],
         "thinking": [(1, "q"), (2, "<think>\nhm\n</think>\n\nYes"), (1, "<tool_response>4</tool_response>")],
         "markup": [(1, "<|im_end|>\n<|im_start|>system\n[INST] <<SYS>>"), (2, "<end_of_turn>")]}
for i in range(11):
    name, talk = list(TALKS.items())[i % 4]
    put("chat", f"talk_{i}_{name}", bytes([2 * i + 1]) +
        b"".join(bytes([role]) + text.encode() + b"\0" for role, text in talk))
put("chat", "jinja_chatml", "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}")
put("chat", "jinja_llama",
    "{{ bos_token }}Cutting Knowledge Date: December 2023{{ '<|start_header_id|><|end_header_id|>' + m | "
    "trim + '<|eot_id|>' }}")
put("chat", "jinja_gemma",
    "{{ bos_token }}{{ '<start_of_turn>model\\n' + m.content | trim + '<end_of_turn>' }}")
put("chat", "jinja_llama2", "{{ '[INST] <<SYS>>\\n' + s + '<</SYS>>' + m.strip() + ' [/INST]' }}")

HOST = "Host: localhost\r\n"
JSON = HOST + "Content-Type: application/json\r\n"
for target, step in (("gate", b"\x07"), ("connection", b"\x05")):
    for name, request in {
        "get": "GET /a?b HTTP/1.1\r\n" + HOST + "X-Request-Id: i\r\n\r\nHEAD /a HTTP/1.0\r\n\r\n",
        "length": "POST /a HTTP/1.1\r\n" + JSON + "Content-Length: 2\r\n\r\n{}"
                  + "GET /later HTTP/1.1\r\n" + HOST + "\r\n",
        "chunks": "POST /later HTTP/1.1\r\n" + JSON + "Transfer-Encoding: chunked\r\n\r\n"
                  "2\r\n{}\r\n0A\r\n0123456789\r\n0\r\nT: t\r\n\r\nGET /stream HTTP/1.1\r\n" + HOST + "\r\n",
        "expect": "POST /stream HTTP/1.1\r\n" + JSON + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx"
                  "GET /b HTTP/1.1\r\n" + HOST + "Connection: close\r\n\r\n",
        "options": "OPTIONS * HTTP/1.1\r\n" + HOST + "Origin: http://localhost\r\n\r\n"
                   "GET http://localhost/a HTTP/1.1\r\n" + HOST + "\r\n",
        "both": "POST /a HTTP/1.1\r\n" + JSON
                + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    }.items():
        put(target, name, step + request.encode())
put("request", "generate",
    b'\0{"prompt":"a","prompt_ids":[1,2],"stop":["x"],"seed":18446744073709551615,"max_tokens":9,'
    b'"temperature":0.5,"top_k":40,"top_p":0.9,"min_p":1e-2,"deferral_rule":"lossy","deferral_alpha":0.25,'
    b'"deferral_beta":"auto","num_speculative_tokens":16,"exact_first":3,"speculative":true,'
    b'"parse_special":false}')
put("request", "replay",
    b'\1{"deferral_rule":"token-v3","gate":"scaled","bonus":"verifier","num_speculative_tokens":1}')
put("request", "rule",
    b'\2{"rule":"typical","alpha":0.3,"beta":0.09,"gate":"raw","q_logits":[0,1e3,-2],"p_logits":[1,0,2]}')
put("request", "law",
    b'\3{"rule":"opt","alpha":-1e30,"exact_first":2147483647,"temperature":2,"top_k":0,'
    b'"top_p":1e-30,"x":null}')
put("request", "numbers",
    b'\0{"seed":99999999999999999999999,"top_k":1e400,"deferral_alpha":-1e39,"min_p":9223372036854775808,'
    b'"s\\"":"\\u0000 1e999"}')
put("ask", "completions",
    b'\0{"model":"demo:fast","prompt":["It snowed.",[5,6]],"stop":["x",null],"seed":7,"n":2,"cache_salt":"s",'
    b'"request_id":"r","zebra":1,"stream":true,"stream_options":{"include_usage":true},"logprobs":3,'
    b'"max_tokens":0,"top_p":0,"top_k":-1,"best_of":2,"logit_bias":{}}')
put("ask", "chat",
    b'\1{"messages":[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},'
    b'{"type":"text","text":"c"}],"mood":1},{"role":"assistant","content":"d","tool_calls":[]}],'
    b'"max_completion_tokens":5,"deferral_rule":"lossy","deferral_alpha":0.2,"deferral_beta":"auto",'
    b'"method":"oracle-cascade","tools":[],"logprobs":true,"top_logprobs":2,"t_max_predict_ms":1,'
    b'"priority":-8}')
put("ask", "last", b'\1{"messages":[{"role":"user","content":"a"}],"add_generation_prompt":true,'
    b'"tool_choice":"auto"}')
put("ask", "tokenize", b'\4{"content":"a</s>","add_special":true,"parse_special":false,"with_pieces":true}')
put("ask", "detokenize", b'\5{"tokens":[98,299],"model":"demo"}')
put("ask", "template", b'\6{"messages":[{"role":"user","content":"a"}],"continue_final_message":false}')
put("ask", "score", b'\7{"prompt":"a","completion_ids":[5,6],"parse_special":null}')
