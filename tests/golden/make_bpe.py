#!/usr/bin/env python3
"""Golden values of byte-pair tokenizers from the tokenizers package, for tests/tokenizers/test_bpe.c.

    python3 tests/golden/make_bpe.py      (tokenizers 0.22)

Writes into tests/golden/tokenizer, each trained here on make_tokenizer.py's texts:
    NAME.json             a tokenizer.json of a few hundred tokens, laid out like a family's
    NAME.jsonl            one line per case: {"text", "special", "ids", "decoded"}, bytes in hexadecimal;
                          special: control tokens are parsed;
                          "decoded_gguf": what llama.cpp makes of the ids, if that differs (bytes that are not
                          UTF-8)
    tiny_NAME.gguf(.jsonl)  metadata only: the same arrays as a GGUF file, whose text is not normalised
Texts that are not UTF-8 get the ids of llama.cpp's reading of them (host/tokenizers/text/utf8.h); the
package cannot read them.
"""
import json
import pathlib
import random
import struct

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import make_tokenizer
import make_tokenizer_lines

HERE = pathlib.Path(__file__).resolve().parent / "tokenizer"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
SPACE = "\u2581"
SPECIALS = ["<|begin|>", "<|end|>", "<|im_start|>"]
TEXTS = make_tokenizer.TEXTS + [
    "<|begin|>system\nYou are.<|end|>\n<|im_start|>user\n", "a<|end|>b <|end|>  c", "<|begin|><|begin|>",
    "<|beg<|end|>in|>", "<tool_call>x</tool_call>", "x<tool_call>y", "I'LL we'Ve it'S o'\u017f",
    "price: 1234567 or 12 or \u00bd\u00b2", "tab\tend \n\n\n x  \r\n\r\n  y",
    "e\u0301a\u0308\u1100\u1161\u11a8 \u212b", "wordy WORD wordWORD WORD_ aWORD WORD",
    "left   <mask>   right<mask>", "    indent\n        more\n\tthen tab",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947"]
# Bytes and the text that llama.cpp reads: U+FFFD for each byte that begins no character, the short form of an
# overlong one.
BROKEN = [(b"\xff", "\ufffd"), (b"a\xc3", "a\ufffd"), (b"\xe2\x82", "\ufffd\ufffd"),
          (b"ok \x80\x81 ok", "ok \ufffd\ufffd ok"), (b"\xf0\x9f\x98", "\ufffd\ufffd\ufffd"),
          (b"\xc0\x80", "\0"), (b"\xe0\x81\x81", "A"), (b"\xf4\x90\x80\x80", "\ufffd" * 4),
          (b"\xf8\x88\x80\x80\x80", "\ufffd" * 5), (b"Stra\xdfe", "Stra\ufffde")]


def corpus():
    return [t for t in make_tokenizer.TEXTS if t.strip() and "\0" not in t] * 4


def byte_level(steps, normalizer=None, size=420, **options):
    tok = Tokenizer(models.BPE(**options))
    tok.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tok.decoder = decoders.ByteLevel()
    if normalizer:
        tok.normalizer = normalizer
    tok.train_from_iterator(corpus(),
                            trainers.BpeTrainer(vocab_size=size,
                                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                show_progress=False))
    return tok


def scored(prefix):
    """A character-level vocabulary: control tokens, bytes, then pieces and characters by falling score."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.Replace(" ", SPACE)
    tok.pre_tokenizer = pre_tokenizers.Split(Regex(f"(?={SPACE})"), "isolated")
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=560, show_progress=False))
    # The alphabet ends at U+024F, so that some characters fall back to bytes; a limit in the trainer would
    # cut ties by chance.
    vocab = [t for t in sorted(tok.get_vocab(), key=tok.get_vocab().get)
             if all(c == SPACE or ord(c) < 0x250 for c in t)]
    tokens = ["<unk>", *SPECIALS, "<mask>", "<tool_call>", "\n\n",
              "\n\n\n"] + [f"<0x{i:02X}>" for i in range(256)]
    types = [2] + [3] * 4 + [4] * 3 + [6] * 256
    pieces = [t for t in vocab if len(t) > 1] + [t for t in vocab if len(t) == 1]
    pieces = [t for t in dict.fromkeys(pieces + [SPACE * 2, SPACE * 4, ".\u2581"]) if t not in tokens]
    scores = [0.0] * len(tokens) + [-float(i) for i in range(len(pieces))]
    return {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens + pieces,
            "tokenizer.ggml.scores": scores, "tokenizer.ggml.token_type": types + [1] * len(pieces),
            "tokenizer.ggml.add_space_prefix": prefix, "tokenizer.ggml.unknown_token_id": 0}


# ---- cases -------------------------------------------------------------------------------------------------

def text_of(tok, ids, raw):
    """The bytes of the ids without control tokens, as strict UTF-8."""
    parts = [raw(i) for i in ids]
    return b"".join(p for p in parts if p is not None).decode(errors="replace")


def spelling():
    """Printable characters and the bytes they stand for."""
    byte = {}
    others = 0
    for b in range(256):
        printable = 0x21 <= b <= 0x7e or (0xa1 <= b <= 0xff and b != 0xad)
        byte[chr(b) if printable else chr(256 + others)] = b
        others += not printable
    assert sorted(byte) == sorted(pre_tokenizers.ByteLevel.alphabet())
    return byte


def spelled(tok):
    control = {t.content for t in tok.get_added_tokens_decoder().values() if t.special}
    users = {t.content for t in tok.get_added_tokens_decoder().values() if not t.special}
    byte = spelling()
    levelled = "ByteLevel" in str(tok.decoder)

    def raw(i):
        t = tok.id_to_token(i)
        if t in control:
            return None
        if t in users:
            return t.encode()
        if levelled:
            return bytes(byte[c] for c in t)
        if len(t) == 6 and t.startswith("<0x"):
            return bytes([int(t[3:5], 16)])
        return t.replace(SPACE, " ").encode()
    return raw


def cases(tok, strip):
    rng = random.Random(5)
    raw = spelled(tok)

    def decoded(ids):
        text, gguf = tok.decode(ids, skip_special_tokens=True), text_of(tok, ids, raw)
        if strip and gguf.startswith(" "):
            gguf = gguf[1:]
        assert text == gguf or "\ufffd" in gguf, (ids, text, gguf)
        return {"decoded": text.encode().hex(),
                **({"decoded_gguf": gguf.encode().hex()} if text != gguf else {})}

    def line(text, bytes_, special):
        tok.encode_special_tokens = not special
        ids = tok.encode(text, add_special_tokens=False).ids
        return {"text": bytes_.hex(), "special": special, "ids": ids, **decoded(ids)}

    for text in TEXTS + list(make_tokenizer.random_texts(rng, 60)):
        yield line(text, text.encode(), False)
        if "<" in text:
            yield line(text, text.encode(), True)
    for bytes_, text in BROKEN:
        if "Byte" in str(tok.pre_tokenizer) or "byte_fallback=False" in str(tok.model):
            yield line(text, bytes_, False)
    for _ in range(60):
        ids = [rng.randrange(tok.get_vocab_size()) for _ in range(rng.randrange(0, 12))]
        yield {"ids": ids, **decoded(ids)}


def write(name, tok, strip=False):
    lines = [json.dumps(c, separators=(",", ":")) for c in cases(tok, strip)]
    (HERE / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    print(name, len(lines), "cases")


def save(name, tok, strip=False):
    tok.save(str(HERE / f"{name}.json"), pretty=False)
    write(name, tok, strip)


def put_gguf(path, meta):
    def text(s):
        return struct.pack("<Q", len(s.encode())) + s.encode()

    def value(v):
        if isinstance(v, list):
            if isinstance(v[0], str):
                kind, body = 8, map(text, v)
            elif isinstance(v[0], float):
                kind, body = 6, (struct.pack("<f", x) for x in v)
            else:
                kind, body = 5, (struct.pack("<i", x) for x in v)
            return struct.pack("<IIQ", 9, kind, len(v)) + b"".join(body)
        if isinstance(v, str):
            return struct.pack("<I", 8) + text(v)
        return struct.pack("<I?", 7, v) if isinstance(v, bool) else struct.pack("<II", 4, v)

    body = b"".join(text(k) + value(v) for k, v in meta.items())
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(meta)) + body)


def arrays(tok, pre):
    tokens = sorted(tok.get_vocab(), key=tok.get_vocab().get)
    known = {t.content: 3 if t.special else 4 for t in tok.get_added_tokens_decoder().values()}
    merges = json.loads(tok.to_str())["model"]["merges"]
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [known.get(t, 1) for t in tokens],
            "tokenizer.ggml.merges": [" ".join(m) for m in merges]}


def main():
    level = pre_tokenizers.ByteLevel
    special = [AddedToken(t, normalized=False, special=True) for t in SPECIALS]

    tok = byte_level([level(add_prefix_space=True)])
    tok.add_special_tokens(special[:1])
    save("tiny_gpt2", tok)

    tok = byte_level([pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                      level(add_prefix_space=False, use_regex=False)], normalizers.NFC())
    tok.add_special_tokens(special)
    tok.add_tokens([AddedToken("<tool_call>", normalized=False),
                    AddedToken("WORD", single_word=True, normalized=False),
                    AddedToken("\u212b", normalized=True)])
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False)])
    save("tiny_qwen2", tok)

    tok = byte_level([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                      level(add_prefix_space=False, use_regex=False)], ignore_merges=True)
    tok.add_special_tokens(special)
    save("tiny_llama3", tok)

    tok = byte_level([pre_tokenizers.Digits(individual_digits=True),
                      level(add_prefix_space=False, use_regex=True)])
    tok.add_special_tokens(special)
    tok.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("    ", normalized=False)])
    save("tiny_smollm", tok)
    put_gguf(HERE / "tiny_smollm.gguf", arrays(tok, "smollm"))  # the same ids: nothing is normalised

    tok = byte_level([pre_tokenizers.Split(Regex("[\r\n]"), "isolated"),
                      pre_tokenizers.Split(Regex(r"\s?\p{L}+"), "isolated"),
                      pre_tokenizers.Split(Regex(r"\s?\p{P}+"), "isolated"),
                      pre_tokenizers.Split(Regex("[一-龥ࠀ-一가-퟿]+"), "isolated"),
                      pre_tokenizers.Digits(individual_digits=True),
                      level(add_prefix_space=False, use_regex=False)])
    tok.add_special_tokens(special)
    save("tiny_deepseek", tok)
    put_gguf(HERE / "tiny_deepseek.gguf", arrays(tok, "deepseek-coder"))

    for name, prefix in [("tiny_llama2", True), ("tiny_gemma", False)]:
        meta = scored(prefix)
        tok = make_tokenizer_lines.by_scores(meta)
        user, control = make_tokenizer_lines.added(meta)
        if not prefix:
            tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        tok.add_tokens(user)
        tok.add_special_tokens(control)
        save(name, tok, prefix)
        put_gguf(HERE / f"{name}.gguf", meta)

    meta = scored(True)
    tok = make_tokenizer_lines.by_scores(meta)
    tok.normalizer = normalizers.Sequence([])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=True)
    tok.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIALS + ["<unk>"]])
    save("tiny_metaspace", tok, True)


if __name__ == "__main__":
    main()
