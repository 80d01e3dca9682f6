"""Draws the 1,000 pairs of tatoeba_1000.jsonl from the Tatoeba test set v2021-08-07 (English and German
files).

usage: make_sample.py tatoeba-test-v2021-08-07.eng tatoeba-test-v2021-08-07.deu > tatoeba_1000.jsonl
"""
import json
import random
import sys

N_PAIR = 17565  # of the test set
N_SAMPLE = 1000


def read_lines(path):
    with open(path, encoding="utf-8", newline="\n") as f:
        lines = f.read().split("\n")
    if lines[-1] == "":
        lines.pop()
    if len(lines) != N_PAIR:
        sys.exit(f"{path}: {len(lines)} lines, expected {N_PAIR}")
    return [line.strip() for line in lines]


def main():
    english, german = read_lines(sys.argv[1]), read_lines(sys.argv[2])
    for i in random.Random(1).sample(range(N_PAIR), N_SAMPLE):
        print(json.dumps({"prompt": english[i], "reference": german[i]}, ensure_ascii=False))


if __name__ == "__main__":
    main()
