"""Prompts that the demo drafter is distilled on: JSON lines on standard output.

Reads lines of English<TAB>German<TAB>source (a .gz too) and keeps the English of those whose source is
`tatoeba` (CC-BY; the other sources do not allow weights to be shipped), each sentence once. Leaves out
whatever has the English or the German of a test sentence, without regard to case, punctuation and spaces.

Both models were trained on these sentences and are surer of them than of others. So there are also texts that
they have not seen: some of 2 to 4 sentences, and chains in which each word follows two others as it does
somewhere in those sentences (a trigram model). Chains that are a sentence of the file or of the test are left
out, too.

    python3 bench/demo/prompts.py train.en-de.tsv.gz > build/distill/prompts.jsonl
"""
import argparse
import gzip
import json
import random
import re
import sys
from collections import defaultdict
from pathlib import Path

TEST = Path(__file__).resolve().parent.parent / "data/tatoeba_1000.jsonl"
SHORTEST, LONGEST = 4, 30  # words of a chain
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def normal(text):
    """Letters and digits only."""
    return re.sub(r"[\W_]+", "", text.casefold())


def test_sentences():
    """Normalised prompts and references of the test set, whole and by sentence."""
    out = set()
    for line in TEST.read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        for text in (pair["prompt"], pair["reference"]):
            out |= {normal(text), *map(normal, SENTENCE_END.split(text))}
    return out - {""}


def chains(sentences, taken, number, rng):
    """number texts of a trigram model of words; taken: normalised texts that must not come out."""
    follow = defaultdict(list)
    for sentence in sentences:
        words = [None, None, *sentence.split(), None]
        for a, b, c in zip(words, words[1:], words[2:]):
            follow[a, b].append(c)
    taken, out = set(taken), []
    while len(out) < number:
        words = [None, None]
        while len(words) < 2 + LONGEST and (word := rng.choice(follow[words[-2], words[-1]])) is not None:
            words.append(word)
        text = " ".join(words[2:])
        if SHORTEST <= len(words) - 2 < LONGEST and normal(text) not in taken:
            taken.add(normal(text))
            out.append(text)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("pairs", type=Path)
    p.add_argument("--sentences", type=int, default=70000, help="of the file (default 70000)")
    p.add_argument("--joined", type=int, default=5000, help="texts of several sentences (default 5000)")
    p.add_argument("--chains", type=int, default=60000, help="texts of the trigram model (default 60000)")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    tests, kept, read, dropped = test_sentences(), {}, 0, 0
    with (gzip.open if a.pairs.suffix == ".gz" else open)(a.pairs, "rt", encoding="utf-8") as f:
        for line in f:
            english, german, source = line.rstrip("\n").split("\t")
            if source != "tatoeba":
                continue
            read += 1
            if normal(english) in tests or normal(german) in tests:
                dropped += 1
            else:
                kept[english.strip()] = None
    rng = random.Random(a.seed)
    sentences = list(kept)
    rng.shuffle(sentences)
    prompts = sentences[:a.sentences]
    prompts += chains(sentences, tests | set(map(normal, sentences)), a.chains, rng)
    prompts += [" ".join(rng.sample(sentences, rng.randint(2, 4))) for _ in range(a.joined)]
    for prompt in prompts:
        print(json.dumps({"prompt": prompt}, ensure_ascii=False))
    used = min(a.sentences, len(sentences))
    print(f"{read} pairs of tatoeba, {dropped} of which share a sentence with {TEST.name}; {len(sentences)} "
          f"sentences, {used} of them used; {a.chains} chains; {a.joined} texts of several sentences",
          file=sys.stderr)


if __name__ == "__main__":
    main()
