#!/usr/bin/env python3
"""Ten thousand lines of mixed text with their ids from the tokenizers package, for test_tokenizer_lines
(WEIR_TOKENIZER_LINES=OUT_DIR).

    python3 tests/golden/make_tokenizer_lines.py OUT_DIR SHARED_DIR [MODEL.gguf ...] [PRE=RANKS ...]

Needs tokenizers 0.22 and transformers 4.57.

RANKS is a vocabulary in tiktoken's format (Llama 3: tokenizer.model of the package llama-models), from which
OUT_DIR/PRE.gguf is made; PRE is the name of its pre-tokenizer in GGUF files.

None of it may be shipped (vocabularies and texts of others), so it is made where it is used. For each
vocabulary
    OUT_DIR/NAME.list    two lines: how weir opens it ("gguf", "json", "gpt2", "spm"), its files, one per line
                         after that
    OUT_DIR/NAME.ids     one line per case: 1 if control tokens are parsed, else 0; the text in hexadecimal;
                         the ids
of SHARED_DIR/data/tokenizers gpt2 and llama2, and of each GGUF file: as it is, compared with a tokenizer that
is built here from its arrays; and as the tokenizer.json that this tokenizer saves. Texts: German and English
sentences, code, emoji, CJK, runs of white space, control tokens, random characters of every plane, all of
them valid UTF-8.
"""
import argparse
import base64
import json
import pathlib
import random
import re
import struct

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

QWEN2 = (r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPACE = "\u2581"

LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
LLAMA4 = (r"[^\r\n\p{L}\p{N}]?[^\P{L}a-z]*[^\P{L}A-Z]+" + CONTRACTIONS +
          r"|[^\r\n\p{L}\p{N}]?[^\P{L}a-z]+[^\P{L}A-Z]*" + CONTRACTIONS +
          r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def sentences(shared):
    data = shared / "data"
    for name in ["multi30k/val.de", "multi30k/val.en", "wmt_newstest/newstest2013.deu",
                 "wmt_newstest/newstest2014.eng"]:
        yield from (data / name).read_text().splitlines()[:1000]
    for line in (data / "mbpp/mbpp.jsonl").read_text().splitlines():
        record = json.loads(line)
        yield record["code"]
        yield from record["test_list"][:1]


def noise(rng, specials):
    planes = [(0x20, 0x7e)] * 4 + [(0, 0x1f), (0x80, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff),
                                   (0x900, 0xdff), (0xe00, 0xe7f),
              (0x1100, 0x11ff), (0x1680, 0x1680), (0x2000, 0x206f), (0x20a0, 0x20bf), (0x2100, 0x27bf),
              (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xff00, 0xffef),
              (0x10400, 0x104ff), (0x1d400, 0x1d7ff), (0x1f300, 0x1faff), (0x20000, 0x2a6df)]
    pieces = [" ", "  ", "   ", "    ", "\n", "\n\n", "\r\n", "\t", "\t\t", "\u00a0", "\u3000", "'s", "'LL",
              "'re ", "don't", "I'VE", "1234", "3.14", "!!", "...", "\u2581", "\U0001f469\u200d\U0001f4bb",
              "\U0001f1e9\U0001f1ea", "e\u0301", "\u00e9", "\u1100\u1161", "\ud55c",
              "def f(x):\n    return x\n", "</s>", "<0x41>", "Stra\u00dfe"]
    while True:
        out = []
        kind = rng.random()
        for _ in range(rng.randrange(1, 40)):
            r = rng.random()
            if r < 0.35:
                out.append(rng.choice(pieces))
            elif r < 0.38 and specials:
                out.append(rng.choice(specials))
            else:
                lo, hi = rng.choice(planes) if kind < 0.7 else planes[rng.randrange(4)]
                out.append(chr(rng.randint(lo, hi)))
        yield "".join(out)


def lines(shared, specials):
    rng = random.Random(11)
    out = list(sentences(shared))
    out += [w * n for w in [" ", "\n", "\t", "a", "ab", "\u00e4", "7", "'", "\u4e2d", "\r\n", " \n", "\n "]
            for n in (1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64, 200)]
    more = noise(rng, specials)
    while len(out) < 10000:
        out.append(next(more))
    return out[:10000]


def write(folder, name, how, files, cases):
    (folder / f"{name}.list").write_text("\n".join([how, *map(str, files)]) + "\n")
    with open(folder / f"{name}.ids", "w") as f:
        for special, text, ids in cases:
            f.write(f"{special:d} {text.encode().hex() or '-'} {' '.join(map(str, ids))}\n")
    print(name, len(cases), "lines")


def cases(tok, texts):
    """Every line with control tokens as text, and those that spell one again with control tokens parsed."""
    tok.encode_special_tokens = True
    out = [(0, t, tok.encode(t, add_special_tokens=False).ids) for t in texts]
    tok.encode_special_tokens = False
    out += [(1, t, tok.encode(t, add_special_tokens=False).ids) for t in texts if "<" in t]
    return out


# ---- GGUF --------------------------------------------------------------------------------------------------

def metadata(path):
    sizes = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    with open(path, "rb") as f:
        def number(code):
            return struct.unpack("<" + code, f.read(struct.calcsize("<" + code)))[0]

        def value(kind):
            if kind == 8:
                return f.read(number("Q")).decode()
            if kind == 9:
                inner, n = number("I"), number("Q")
                return [value(inner) for _ in range(n)]
            return number(sizes[kind])

        assert f.read(4) == b"GGUF"
        number("I"), number("Q")
        return {value(8): value(number("I")) for _ in range(number("Q"))}


def added(meta):
    """User-defined tokens, and control tokens as special ones; none is normalised."""
    types, tokens = meta["tokenizer.ggml.token_type"], meta["tokenizer.ggml.tokens"]
    user = [AddedToken(t, normalized=False, special=False) for t, k in zip(tokens, types) if k == 4]
    control = [AddedToken(t, normalized=False, special=True) for t, k in zip(tokens, types) if k in (2, 3)]
    return user, control


def byte_level(meta):
    tokens = meta["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges,
                               ignore_merges=meta["tokenizer.ggml.pre"] == "llama-bpe"))
    steps = {"qwen2": [pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
             "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                           pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
             "llama4": [pre_tokenizers.Split(Regex(LLAMA4), "isolated"),
                        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
             "smollm": [pre_tokenizers.Digits(individual_digits=True),
                        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
             "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]}
    tok.pre_tokenizer = pre_tokenizers.Sequence(steps[meta["tokenizer.ggml.pre"]])
    tok.decoder = decoders.ByteLevel()
    return tok


def by_scores(meta):
    """Merges of all pairs of tokens that make a token, by falling score (as transformers converts them)."""
    tokens, scores, types = (meta[f"tokenizer.ggml.{k}"] for k in ("tokens", "scores", "token_type"))
    vocab = {t: i for i, t in enumerate(tokens)}
    pairs = []
    for i, t in enumerate(tokens):
        if types[i] not in (1, 4):
            continue
        local = [(t[:k], t[k:]) for k in range(1, len(t)) if t[:k] in vocab and t[k:] in vocab]
        pairs += [(-scores[i], i, p) for p in sorted(local, key=lambda p: (vocab[p[0]], vocab[p[1]]))]
    pairs.sort(key=lambda x: x[:2])
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[p for _, _, p in pairs], byte_fallback=True,
                               fuse_unk=True, unk_token="<unk>"))
    replace = [normalizers.Replace(" ", SPACE)]
    prefix = meta.get("tokenizer.ggml.add_space_prefix", True)
    tok.normalizer = normalizers.Sequence(([normalizers.Prepend(SPACE)] if prefix else []) + replace)
    tok.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()] +
                                    ([decoders.Strip(" ", 1, 0)] if prefix else []))
    return tok


def known(tok, texts):
    """Texts whose every byte is a token. In others llama.cpp makes a gap that nothing merges across;
    tokenizers makes none."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    lacks = {c for c in level.alphabet() if tok.token_to_id(c) is None}
    return {t for t in texts if not lacks or
            not any(c in lacks for word, _ in level.pre_tokenize_str(t) for c in word)}


def gguf(folder, shared, path):
    meta = metadata(path)
    user, control = added(meta)
    tok = byte_level(meta) if meta["tokenizer.ggml.model"] == "gpt2" else by_scores(meta)
    tok.add_tokens(user)
    tok.add_special_tokens(control)
    texts = lines(shared, [t.content for t in control[:40]] + [t.content for t in user[:40]])
    found = cases(tok, texts)
    same = known(tok, texts) if meta["tokenizer.ggml.model"] == "gpt2" else texts
    write(folder, path.stem, "gguf", [path], [c for c in found if c[1] in same])
    saved = folder / f"{path.stem}.json"
    tok.save(str(saved))
    write(folder, path.stem + "-json", "json", [saved], found)
    if meta.get("tokenizer.ggml.pre") == "qwen2":  # as in its own tokenizer.json
        tok.normalizer = normalizers.NFC()
        saved = folder / f"{path.stem}-nfc.json"
        tok.save(str(saved))
        write(folder, path.stem + "-nfc", "json", [saved], cases(tok, texts))


def ranks(folder, shared, pre, path):
    """As transformers converts tiktoken's ranks: merges of all pairs of tokens that make a token, in the
    order of its rank."""
    import make_bpe
    spell = {b: c for c, b in make_bpe.spelling().items()}
    vocab = {base64.b64decode(a): int(b)
             for a, b in (line.split() for line in path.read_bytes().splitlines() if line)}
    merges = []
    for token, rank in sorted(vocab.items(), key=lambda x: x[1]):
        local = [(token[:k], token[k:]) for k in range(1, len(token)) if token[:k] in vocab and
                 token[k:] in vocab]
        merges += sorted(local, key=lambda p: (vocab[p[0]], vocab[p[1]]))
    tokens = ["".join(spell[b] for b in t) for t in sorted(vocab, key=vocab.get)]
    control = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
               "<|eot_id|>"]
    meta = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre,
            "tokenizer.ggml.tokens": tokens + control,
            "tokenizer.ggml.token_type": [1] * len(tokens) + [3] * len(control),
            "tokenizer.ggml.merges": [" ".join("".join(spell[b] for b in part) for part in m)
                                      for m in merges]}
    out = folder / f"{pre}.gguf"
    make_bpe.put_gguf(out, meta)
    gguf(folder, shared, out)


# ---- the shared folder's -----------------------------------------------------------------------------------

def gpt2(folder, shared):
    base = shared / "data/tokenizers/gpt2"
    vocab = json.loads((base / "vocab.json").read_text())
    merges = [tuple(m.split(" ")) for m in (base / "merges.txt").read_text().splitlines()[1:] if m]
    merges = [m for m in merges if "".join(m) in vocab]  # this copy of the files lacks the last token
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    if "<|endoftext|>" in vocab:
        tok.add_special_tokens([AddedToken("<|endoftext|>", normalized=False, special=True)])
    write(folder, "gpt2", "gpt2", [base / "vocab.json", base / "merges.txt"],
          cases(tok, lines(shared, ["<|endoftext|>"])))


def llama2(folder, shared):
    import transformers
    model = shared / "data/tokenizers/llama2/tokenizer.model"
    texts = lines(shared, ["<s>", "</s>", "[INST]"])
    fast = transformers.LlamaTokenizerFast(vocab_file=str(model), legacy=True).backend_tokenizer
    saved = folder / "llama2.json"
    fast.save(str(saved))
    write(folder, "llama2-json", "json", [saved], cases(fast, texts))
    slow = transformers.LlamaTokenizer(str(model), legacy=True)
    plain = [t for t in texts if not re.search("<(s|/s|unk)>", t)]  # the slow class always parses them
    write(folder, "llama2", "spm", [model],
          [(0, t, slow(t, add_special_tokens=False).input_ids) for t in plain])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("models", nargs="*")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    gpt2(args.out, args.shared)
    llama2(args.out, args.shared)
    for model in args.models:
        pre, _, path = model.rpartition("=")
        if pre:
            ranks(args.out, args.shared, pre, pathlib.Path(path))
        else:
            gguf(args.out, args.shared, pathlib.Path(path))
