"""Quality and speed of the rules on the demo pair: BLEU, chrF, lengths, rejections and tokens/s, relative to
the verifier alone.

Every round runs every setting once over the prompts (one seed per round, batch 1). Each setting runs right
after the verifier alone and is compared with it, because a shared machine's speed drifts within a minute; the
speed-up is the median of that ratio over rounds. Writes a Markdown table, and a CSV with one line per setting
and round, under bench/results/.
"""
import argparse
import csv
import datetime
import statistics
import sys

import sacrebleu

import weir_runs as runs

DEFAULT = ["exact::5", "token-v3:0.2:5", "token-v3:0.8:5", "token-v3:0.9:5", "token-v3:0.97:5",
           "token-v3:0.99:5", "opt:0.2:5", "lossy:0.5:5"]
SPEEDS = ("tok_s", "tok_s_decode", "ms", "ratio", "ratio_decode")
# Column of the table: (title, key, format). A missing figure prints as an en dash.
COLUMNS = [("setting", "setting", "s"), ("BLEU", "bleu", ".2f"), ("± sd", "bleu_sd", ".2f"),
           ("chrF", "chrf", ".1f"), ("tokens/s", "tok_s", ".0f"), ("× verifier", "ratio", ".2f"),
           ("decode only ×", "ratio_decode", ".2f"), ("tokens/block", "per_block", ".2f"),
           ("rejected", "rejection_rate", ".3f"), ("deferred", "deferral_rate", ".3f"),
           ("verifier calls/token", "calls", ".3f"), ("tokens/answer", "length", ".2f"),
           ("at limit", "at_limit", ".4f"), ("ms/answer", "ms", ".2f")]


def measure(setting, pairs, args, seed):
    """One run of one setting: a dict of figures."""
    answers = runs.run(setting, [p["prompt"] for p in pairs], temp=args.temp, seed=seed, threads=args.threads)
    hypotheses, references = [a["text"] for a in answers], [[p["reference"] for p in pairs]]
    t = runs.totals(answers)
    steps = t["num_spec_steps"]
    return {
        "setting": setting, "seed": seed,
        "bleu": sacrebleu.corpus_bleu(hypotheses, references).score,
        "chrf": sacrebleu.corpus_chrf(hypotheses, references).score,
        "tok_s": runs.tokens_per_second(t), "tok_s_decode": runs.tokens_per_second(t, whole=False),
        "per_block": 1 + t["num_accepted_draft_tokens"] / steps if steps else None,
        "rejection_rate": t["rejection_rate"] if steps else None,
        "deferral_rate": t["deferral_rate"] if steps else None,
        "calls": t["verifier_calls"] / t["tokens"],
        "length": t["tokens"] / t["answers"], "at_limit": t["at_limit"] / t["answers"],
        "ms": (t["prompt_ms"] + t["decode_ms"]) / t["answers"],
    }


def measure_beside_verifier(setting, pairs, args, seed):
    """measure(), with the speeds relative to a verifier run made just before."""
    base = runs.run("verifier", [p["prompt"] for p in pairs], temp=args.temp, seed=seed, threads=args.threads)
    b = runs.totals(base)
    row = measure(setting, pairs, args, seed)
    row["ratio"] = row["tok_s"] / runs.tokens_per_second(b)
    row["ratio_decode"] = row["tok_s_decode"] / runs.tokens_per_second(b, whole=False)
    return row


def summarise(setting, rounds):
    """Medians of speeds and ratios, means of the rest, over the rounds of one setting."""
    row = {"setting": setting}
    for key in rounds[0]:
        values = [r[key] for r in rounds if r[key] is not None]
        if key not in ("setting", "seed"):
            fold = statistics.median if key in SPEEDS else statistics.fmean
            row[key] = fold(values) if values else None
    row["bleu_sd"] = statistics.stdev([r["bleu"] for r in rounds]) if len(rounds) > 1 else None
    return row


def cell(row, key, form):
    value = row.get(key)
    return "–" if value is None else format(value, form)


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("settings", nargs="*", default=DEFAULT,
                   help="RULE[:ALPHA[:GAMMA[:--FLAG=VALUE…]]] or drafter (default: %(default)s)")
    p.add_argument("--temp", type=float, default=1.0, help="temperature, 0 to 2 (default 1)")
    p.add_argument("--seeds", type=int, default=3, help="rounds, one seed each (default 3)")
    p.add_argument("--prompts", type=int, default=1000, help="the first N of the sample (default 1000)")
    p.add_argument("--threads", type=int, default=2, help="threads of weir (default 2)")
    p.add_argument("--name", default=None, help="stem of the files under bench/results/ (default quality_tT)")
    return p.parse_args()


def main():
    args = parse_args()
    settings = ["verifier"] + [s for s in args.settings if s != "verifier"]
    pairs = runs.read_pairs(args.prompts)
    rounds = {s: [] for s in settings}
    for seed in range(1, args.seeds + 1):
        for setting in settings:
            rounds[setting].append(measure_beside_verifier(setting, pairs, args, seed))
            last = rounds[setting][-1]
            print(f"seed {seed} {setting}: BLEU {last['bleu']:.2f}, {last['tok_s']:.0f} tokens/s",
                  file=sys.stderr)

    table = runs.markdown([title for title, _, _ in COLUMNS],
                          [[cell(row, key, form) for _, key, form in COLUMNS]
                           for row in (summarise(s, rounds[s]) for s in settings)])
    head = (f"{datetime.date.today()}, {runs.machine()}, {args.threads} threads. T = {args.temp:g}, batch 1, "
            f"{len(pairs)} prompts, {args.seeds} seeds.\n"
            f"Command: ./make.sh bleu {' '.join(sys.argv[1:])}".rstrip())
    runs.RESULTS.mkdir(exist_ok=True)
    stem = runs.RESULTS / (args.name or f"quality_t{args.temp:g}")
    stem.with_suffix(".md").write_text(f"{head}\n\n{table}\n", encoding="utf-8")
    with open(stem.with_suffix(".csv"), "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, fieldnames=list(rounds["verifier"][0]))
        writer.writeheader()
        for setting in settings:
            writer.writerows(rounds[setting])
    print(f"{head}\n\n{table}")


if __name__ == "__main__":
    main()
