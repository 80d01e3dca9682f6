#!/usr/bin/env python3
"""Golden values of added tokens and of Unigram, for tests/tokenizers/test_added.c.

    python3 tests/golden/make_added.py      (tokenizers 0.22, transformers 4.57, sentencepiece)

Writes into tests/golden/added one folder per case, laid out like a model directory, with
    cases.jsonl    one line per case: {"text", "ids", "decoded"}, texts in hexadecimal; control tokens are
                   parsed
The models are the tiny ones of tests/golden/tokenizer. Ids of a tokenizer.json come from tokenizers (from
transformers' fast class if the folder has other files), those of a .model or vocab.json from transformers'
slow class.
"""
import json
import os
import pathlib
import random
import shutil

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast, T5Tokenizer  # noqa: E402

import make_tokenizer  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
TINY, OUT = HERE / "tokenizer", HERE / "added"
# Letters in all of Unicode's senses, marks, numbers, connectors, joiners, white space of every reader, and
# what is none of them.
BESIDE = ["", "a", "Z", "0", "_", " ", "  ", "\t", "\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\x1c",
          "\x85", "\u200c", "\u200d", "\u2160", "\u24d0", "\U0001f130", "\U0001f150", "\U0001f170",
          "\U0001f18a", "\u0301", "\u0903", "\u20dd", "\u203f", "\u00b2", "\u0660", "\u4e2d", ".", "-",
          "\U0001f600", "\u180e", "\u200b", "\u00e9", "\u2581"]


def tokens():
    """One of every combination of flags, then some that overlap."""
    out = [AddedToken(f"k{i:x}", single_word=bool(i & 1), lstrip=bool(i & 2), rstrip=bool(i & 4),
                      normalized=bool(i & 8), special=i % 3 == 0) for i in range(16)]
    return out + [AddedToken(t, normalized=False, **f)
                  for t, f in [("abc", {}), ("bcd", {"single_word": True}), ("abXcd", {}), ("b", {}),
                               ("\n\n", {"lstrip": True}), ("  ", {"rstrip": True}),
                               ("\u4e2d\u6587", {"single_word": True})]]


def texts(names, n=160):
    rng = random.Random(7)
    for name in names:
        for beside in BESIDE:
            after = rng.random() < 0.5
            yield beside + name + rng.choice(BESIDE) if after else rng.choice(BESIDE) + name + beside
    for _ in range(n):
        yield "".join(rng.choice(names) if rng.random() < 0.5 else rng.choice(BESIDE)
                      for _ in range(rng.randrange(1, 9)))


def folder(name):
    path = OUT / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def write(path, encode, decode, lines):
    with open(path / "cases.jsonl", "w") as f:
        for text in lines:
            try:
                ids = encode(text)
            # tokenizers panics ("bad split") if a token would begin inside white space that another one took
            except BaseException:
                continue
            f.write(json.dumps({"text": text.encode().hex(), "ids": ids,
                                "decoded": decode(ids).encode().hex()}, separators=(",", ":")) + "\n")
    print(path.name, sum(p.stat().st_size for p in path.iterdir()), "bytes")


def bytes_model():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tok = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    return tok


# ---- tokenizer.json ----------------------------------------------------------------------------------------

def fast():
    path = folder("flags")
    tok = bytes_model()
    tok.normalizer = normalizers.NFKC()
    tok.add_tokens(tokens())
    tok.save(str(path / "tokenizer.json"), pretty=False)
    names = [t.content for t in tokens()]
    write(path, lambda t: tok.encode(t, add_special_tokens=False).ids,
          lambda i: tok.decode(i, skip_special_tokens=True), texts(names))


def fast_with_files():
    """tokenizer_config.json changes flags and adds tokens; ids of the file continue from the vocabulary,
    whatever it lists."""
    path = folder("fast")
    bytes_model().save(str(path / "tokenizer.json"), pretty=False)
    saved = json.loads((path / "tokenizer.json").read_text())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    saved["added_tokens"] = [{"id": 300, "content": "<x>", **plain},
                             {"id": 258, "content": "<y>", **plain, "special": True}]
    (path / "tokenizer.json").write_text(json.dumps(saved))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>",
              "clean_up_tokenization_spaces": False,
              "additional_special_tokens": [{"__type": "AddedToken", "content": "<y>", **plain,
                                             "lstrip": True}],
              "added_tokens_decoder": {"300": {"content": "<x>", **plain, "rstrip": True},
                                       "500": {"content": "<new>", **plain, "lstrip": True}}}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    tok = AutoTokenizer.from_pretrained(path)
    assert isinstance(tok, PreTrainedTokenizerFast)
    write(path, lambda t: tok.encode(t, add_special_tokens=False),
          lambda i: tok.decode(i, skip_special_tokens=True), texts(["<x>", "<y>", "<new>", "<eos>"], 60))


# ---- .model ------------------------------------------------------------------------------------------------

def slow(name, kind, model, file, legacy):
    """legacy: added_tokens.json and special_tokens_map.json; else added_tokens_decoder, with gaps."""
    path = folder(name)
    tok = kind(str(TINY / model), legacy=True, **({"extra_ids": 5} if kind is T5Tokenizer else {}))
    tok.add_tokens([t for t in tokens() if not t.special])
    tok.add_special_tokens({"additional_special_tokens": [t for t in tokens() if t.special]},
                           replace_additional_special_tokens=False)
    tok.save_pretrained(path)
    config = json.loads((path / "tokenizer_config.json").read_text())
    first = len(tok) - len(tokens())
    config["added_tokens_decoder"] = {str(int(i) + (int(i) - first) // 4 * (int(i) >= first)): t
                                      for i, t in config["added_tokens_decoder"].items()}
    if legacy:
        del config["added_tokens_decoder"]
    else:
        (path / "added_tokens.json").unlink()
        (path / "special_tokens_map.json").unlink()
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    assert (path / file).exists()
    tok = kind.from_pretrained(path)
    names = [t.content for t in tokens()] + ["</s>", "<unk>", "<pad>", "<extra_id_3>"]
    skip = {tok.unk_token_id}
    write(path, lambda t: tok.encode(t, add_special_tokens=False),
          lambda i: tok.decode(i, skip_special_tokens=True, clean_up_tokenization_spaces=False)
          if not skip & set(i) else "", texts(names))


# ---- vocab.json and merges.txt -----------------------------------------------------------------------------

def pair():
    path = folder("pair")
    vocab = json.loads(bytes_model().to_str())["model"]["vocab"]
    vocab["\u010a\u010a"] = 256
    (path / "vocab.json").write_text(json.dumps(vocab))
    (path / "merges.txt").write_text("#version: 0.2\n\u010a \u010a\n")
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "unk_token": None,
              "clean_up_tokenization_spaces": False,
              "added_tokens_decoder": {str(260 + i): {"content": c, "special": c != "<think>", **plain}
                                       for i, c in enumerate(["<|endoftext|>", "<|im_end|>", "<think>"])}}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    tok = AutoTokenizer.from_pretrained(path, use_fast=False)
    write(path, lambda t: tok.encode(t, add_special_tokens=False),
          lambda i: tok.decode(i, skip_special_tokens=True),
          [*texts(["<|endoftext|>", "<|im_end|>", "<think>"], 40), "a\n\n\nb", "I'LL 123 e\u0301", "x\n\n y"])


# ---- Unigram -----------------------------------------------------------------------------------------------

def unigram():
    path = folder("unigram")
    tok = T5Tokenizer(str(TINY / "tiny_unigram.model"), extra_ids=3, legacy=True)
    from transformers.convert_slow_tokenizer import convert_slow_tokenizer
    fast_ = convert_slow_tokenizer(tok)
    fast_.save(str(path / "tokenizer.json"), pretty=False)
    lines = [t for t in make_tokenizer.TEXTS if "\0" not in t]
    lines += make_tokenizer.random_texts(random.Random(3), 60)
    lines += ["a\r\nb", "e\u0301\u0323 \u1100\u1161\u11a8", "\uff21\uff22\u3000\u2460"]
    write(path, lambda t: fast_.encode(t, add_special_tokens=False).ids,
          lambda i: fast_.decode(i, skip_special_tokens=True), lines)

    path = folder("unigram_words")
    saved = json.loads(fast_.to_str())["model"]
    byte = [[f"<0x{i:02X}>", -20.0 - i / 256] for i in range(256)]
    tok = Tokenizer(models.Unigram([tuple(p) for p in saved["vocab"][:300] + byte], unk_id=saved["unk_id"],
                                   byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase(),
                                           normalizers.Strip()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                                 pre_tokenizers.Metaspace(prepend_scheme="always",
                                                                          split=True)])
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    tok.save(str(path / "tokenizer.json"), pretty=False)
    write(path, lambda t: tok.encode(t, add_special_tokens=False).ids,
          lambda i: tok.decode(i, skip_special_tokens=True), lines)


if __name__ == "__main__":
    fast()
    fast_with_files()
    slow("t5", T5Tokenizer, "tiny_unigram.model", "spiece.model", False)
    slow("t5_legacy", T5Tokenizer, "tiny_unigram.model", "spiece.model", True)
    slow("llama", LlamaTokenizer, "tiny_bpe.model", "tokenizer.model", False)
    slow("llama_legacy", LlamaTokenizer, "tiny_bpe.model", "tokenizer.model", True)
    pair()
    unigram()
