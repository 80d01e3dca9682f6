"""What quantising weights at load costs in log-probability and brings in speed, on CPUs. Errors: `weir score`
of the verifier's own greedy answers, against the file's weights, token by token. Speed: greedy answers, γ
fixed, settings interleaved round after round, one process each; ratios are of a round.

    python3 bench/quantize.py [--model DIR --draft DIR]
"""
import argparse
import datetime
import sys
from pathlib import Path

from weir_runs import (DRAFTER, PROGRAM, RESULTS, VERIFIER, accepted, ask, machine, markdown, median,
                       read_pairs, spread, tokens_per_second, totals)

FORMATS = ["q8_0", "fp8"]


def command(o, what, flags):
    return [o.program, what, "-m", o.model, *flags, "-t", str(o.threads), "-q"]


def answers(o, flags, pairs):
    requests = [{"prompt": p["prompt"]} for p in pairs]
    return ask([*command(o, "generate", flags), "--jsonl", "--temp", "0", "-n", str(o.tokens), "--gamma",
                str(o.gamma), "-np", "1"], requests)


def scores(o, flags, pairs, texts):
    requests = [{"prompt": p["prompt"], "completion_ids": t["token_ids"]} for p, t in zip(pairs, texts)]
    return [x for r in ask(command(o, "score", flags), requests) for x in r["logprobs"]]


def error_rows(o, pairs, texts):
    file, rows = scores(o, [], pairs, texts), []
    settings = {"the file's weights, --isa avx2": ["--isa", "avx2"]}
    settings.update({name: ["--quantize", name] for name in FORMATS})
    for name, flags in settings.items():
        moved = [a - b for a, b in zip(scores(o, flags, pairs, texts), file)]
        size = sorted(abs(d) for d in moved)
        greedy = answers(o, flags, pairs)
        same = sum(a["token_ids"] == b["token_ids"] for a, b in zip(greedy, texts))
        rows.append([name, len(size), f"{sum(moved) / len(size):+.5f}", f"{sum(size) / len(size):.5f}",
                     f"{size[len(size) * 99 // 100]:.4f}", f"{size[-1]:.4f}", f"{same} of {len(texts)}"])
    return rows


def speed_settings(o):
    found = {"verifier alone": []}
    for name in FORMATS:
        found[f"verifier alone in {name}"] = ["--quantize", name]
    if o.draft:
        pair = ["-md", o.draft]
        found["exact"] = pair
        for name in FORMATS:
            found[f"exact, drafter in {name}"] = [*pair, "--quantize-draft", name]
        for name in FORMATS:
            found[f"exact, both in {name}"] = [*pair, "--quantize", name, "--quantize-draft", name]
    return found


def speed_rows(o, pairs):
    speeds, stood, rows = {s: [] for s in speed_settings(o)}, {}, []
    for k in range(o.rounds):
        for setting, flags in speed_settings(o).items():
            t = totals(answers(o, flags, pairs))
            speeds[setting].append(tokens_per_second(t, whole=False))
            stood[setting] = accepted(t)
            print(f"round {k + 1}, {setting}: {speeds[setting][-1]:.1f} tokens/s", file=sys.stderr)
    for setting, found in speeds.items():
        alone = spread([a / b for a, b in zip(found, speeds["verifier alone"])])
        rows.append([setting, f"{median(found):.0f}", alone, stood[setting]])
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=str(VERIFIER))
    p.add_argument("--draft", default=str(DRAFTER))
    p.add_argument("--program", default=str(PROGRAM))
    p.add_argument("--prompts", type=int, default=200, help="scored")
    p.add_argument("--timed", type=int, default=40, help="of them, timed")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--gamma", type=int, default=3)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--skip", choices=["errors", "speed"])
    p.add_argument("--out", default=str(RESULTS / "quantize.md"))
    o = p.parse_args()
    pairs = read_pairs(o.prompts)
    text = (f"# Weights quantised at load\n\n{datetime.date.today()}, {machine()}, threads: {o.threads}, pair"
            f" {Path(o.model).name} and {Path(o.draft).name}.\n\n    python3 bench/quantize.py --prompts "
            f"{o.prompts} --timed {o.timed} --rounds {o.rounds} --gamma {o.gamma} --threads {o.threads}\n")
    if o.skip != "errors":
        rows = error_rows(o, pairs, answers(o, [], pairs))
        head = ["verifier in", "tokens", "mean", "mean size", "99% below", "largest", "same greedy answers"]
        text += (f"\nLog-probability of the verifier's greedy tokens, less that by the file's weights. "
                 f"(AVX512BF16 and AMX round rows\nto bf16 for a file in bf16; AVX2 does not.)\n\n"
                 f"{markdown(head, rows)}\n")
    if o.skip != "speed":
        head = ["setting", "tokens/s", "× verifier alone, of a round: median (least, most)",
                "drafts accepted"]
        text += (f"\nTokens/s of decoding alone, greedy, {o.timed} prompts, {o.rounds} rounds, "
                 f"interleaved:\n\n{markdown(head, speed_rows(o, pairs[:o.timed]))}\n")
    with open(o.out, "w", encoding="utf-8") as f:
        f.write(text)
    print(text)


if __name__ == "__main__":
    main()
