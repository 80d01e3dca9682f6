#!/usr/bin/env python3
"""Golden values of tokenizers from transformers and sentencepiece, for tests/tokenizers/test_tokenizer.c.

    python3 tests/golden/make_tokenizer.py [NAME:EXTRA_IDS:MODEL ...]   (transformers 4.57, sentencepiece 0.2)

Writes into tests/golden/tokenizer:
    tiny_unigram.model, tiny_bpe.model   a few kilobytes each, trained here on the texts below (for prefixes
                                         and fuzzing)
    NAME.jsonl                           for the demo vocabulary, the tiny models and each MODEL named on the
                                         command line
A line is one case, bytes in hexadecimal:
    {"text", "ids", "decoded"}   text to ids as T5Tokenizer (slow, legacy) gives them without its end-of-text,
                                 and back;
                                 a text that is not UTF-8 goes to sentencepiece directly
    {"ids", "decoded"}           ids that no text produces
decoded is sentencepiece's text of the ids without control pieces and sentinels, stripped: transformers gives
the same with skip_special_tokens (checked here), except for unknown pieces, which transformers drops and weir
shows as sentencepiece does. Texts never spell "</s>", "<pad>" or "<unk>": transformers would make control
tokens of them, weir does not.
"""
import json
import os
import pathlib
import random
import sys
import warnings

import sentencepiece
from transformers import T5Tokenizer

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).parents[2]
HERE = pathlib.Path(__file__).resolve().parent / "tokenizer"

TEXTS = [
    "", " ", "  \t\n ", "a", "The weather is nice today.", "I want to learn Japanese.",
    "Es hat viel geschneit, und die Straßen sind glatt.", "Übermut tut selten gut; ÄÖÜ äöü ß ẞ",
    "Die Geschwindigkeitsbegrenzung auf der Donaudampfschifffahrtsgesellschaftskapitänsbrücke",
    "don't  won't\tcan't", " leading and trailing ", "many     spaces\n\nand\r\nlines",
    "\u00a0no-break\u202fspaces\u3000wide\u2003em\u200bzero width", "😀 😃👍🏽 👨‍👩‍👧‍👦 🇩🇪", "我想学习日语。",
    "日本語を勉強したい。ｶﾀｶﾅ ＡＢＣ１２３", "한국어를 배우고 싶어요", "Привет, мир! Ελληνικά עברית العربية",
    "e\u0301 vs é, ﬁ ligature, ½ ² ™ … “quotes” „deutsch“ – — ‐", "x" * 300, "ab " * 100,
    "12345678901234567890 3.14159 1,000,000 €5 $6 £7 %", "▁ lower one eighth block ▁▁", "<extra_id_0>",
    "a<extra_id_0>b", "The <extra_id_0> walks in <extra_id_1> park",
    "  <extra_id_5>  \u3000<extra_id_99>\u00a0x", "<extra_id_100> <extra_id_01> <extra_id_> <extra_id_1",
    "<extra_id_1><extra_id_1>", "<extra_id_<extra_id_3>>", "<extra_id_12 <extra_id_12>", "zero\0byte", "\0",
    "bell\a escape\x1b[0m del\x7f", "\ufeffbom", "\ufffd replacement",
    "\U0010ffff last, \U000e0001 tag, \ue000 private",
    "Tom's mother-in-law said: \"No!\" (really?) [yes] {ok} <tag> & more",
    "https://example.org/path?q=1&r=2#frag user@example.org", "camelCase snake_case kebab-case SHOUTING",
    "ﷺ ﷽ Ǆ ǅ ǆ", "A\u0308\u0323 q\u0307\u0323",
]
RAW = [b"\xff", b"\xc3", b"a\xc3", b"\xe2\x82", b"ok \x80\x81 ok", b"\xf0\x9f\x98", b"\xed\xa0\x80",
       b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xfe\xfe\xff\xff", b"Stra\xdfe", b"\x00\xff\x00", b" \xc2 ",
       b"\xe3\x80"]


def random_texts(rng, n):
    ranges = [(0x20, 0x7e)] * 6 + [(0xa0, 0x17f), (0x370, 0x3ff), (0x400, 0x4ff), (0x2000, 0x206f),
                                   (0x3000, 0x30ff), (0x4e00, 0x4fff), (0xff00, 0xffef), (0x1f600, 0x1f64f),
                                   (0x300, 0x36f)]
    for _ in range(n):
        out = []
        for _ in range(rng.randrange(1, 60)):
            lo, hi = rng.choice(ranges)
            out.append(" " if rng.random() < 0.15 else chr(rng.randint(lo, hi)))
        yield "".join(out)


def cases(model, extra_ids):
    rng = random.Random(7)
    tok = T5Tokenizer(str(model), extra_ids=extra_ids, legacy=True)
    sp = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def decode(ids):
        text = sp.decode([i for i in ids if i < len(sp) and not sp.is_control(i)]).strip()
        if not any(i < len(sp) and sp.is_unknown(i) for i in ids):
            theirs = tok.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            assert text == theirs, (ids, text, theirs)
        return text.encode().hex()

    for text in TEXTS + list(random_texts(rng, 60)):
        ids = tok(text, add_special_tokens=False).input_ids
        yield {"text": text.encode().hex(), "ids": ids, "decoded": decode(ids)}
    for raw in RAW:
        ids = sp.encode(raw)
        yield {"text": raw.hex(), "ids": ids, "decoded": decode(ids)}
    for _ in range(60):
        ids = [rng.randrange(len(tok)) for _ in range(rng.randrange(0, 12))]
        ids = [rng.randrange(4) if rng.random() < 0.2 else i for i in ids]
        yield {"ids": ids, "decoded": decode(ids)}


def write(name, extra_ids, model):
    lines = [json.dumps(c, separators=(",", ":")) for c in cases(model, extra_ids)]
    (HERE / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    print(name, len(lines), "cases")


def train(name, **options):
    corpus = [t for t in TEXTS if t.strip() and "\0" not in t and "extra_id" not in t]
    os.chdir(HERE)  # the model keeps its prefix; a bare name reveals nothing of this machine
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus * 4), model_prefix=name, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        num_threads=1, minloglevel=2, hard_vocab_limit=False, **options)
    (HERE / f"{name}.vocab").unlink()


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    # a normaliser of a kilobyte instead of 240: fold case, one expansion, some white space
    rules = HERE / "rules.tsv"
    rows = [(chr(c), chr(c + 32)) for c in range(65, 91)] + [("\u00df", "ss"), ("\u00a0", " "),
                                                             ("\u3000", " "), ("\t", " "), ("\n", " ")]
    rules.write_text("".join(f"{ord(a):X}\t{' '.join(f'{ord(c):X}' for c in b)}\n" for a, b in rows))
    train("tiny_unigram", vocab_size=250, normalization_rule_tsv=rules.name, character_coverage=0.98)
    rules.unlink()
    train("tiny_bpe", vocab_size=560, model_type="bpe", byte_fallback=True,
          normalization_rule_name="identity", character_coverage=0.98,
          user_defined_symbols=["<sep>", "<|user|>"], remove_extra_whitespaces=False)
    demo = ROOT / "models/demo/verifier/spiece.model"
    write("demo", 0, demo)
    write("demo_sentinels", 100, demo)
    write("tiny_unigram", 10, HERE / "tiny_unigram.model")
    write("tiny_bpe", 3, HERE / "tiny_bpe.model")
    for arg in sys.argv[1:]:
        name, extra_ids, model = arg.split(":", 2)
        write(name, int(extra_ids), model)
