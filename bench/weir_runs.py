"""Runs build/weir over prompts and sums up its JSON lines: shared by quality.py and peers/."""
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build" / "weir"
VERIFIER = ROOT / "models" / "demo" / "verifier"
DRAFTER = ROOT / "models" / "demo" / "drafter"
PROMPTS = ROOT / "bench" / "data" / "tatoeba_1000.jsonl"
RESULTS = ROOT / "bench" / "results"


def read_pairs(n):
    """The first n {"prompt", "reference"} objects of the fixed sample."""
    with open(PROMPTS, encoding="utf-8") as f:
        return [json.loads(line) for line in f][:n]


def setting_flags(setting):
    """Command-line flags of a setting: "verifier", "drafter", or RULE[:ALPHA[:GAMMA[:--FLAG=VALUE…]]].

    "exact::7" leaves alpha out. Raises ValueError for anything else.
    """
    name, *rest = setting.split(":")
    if name == "verifier":
        return ["-m", str(VERIFIER)] + rest
    if name == "drafter":
        return ["-m", str(DRAFTER)] + rest
    flags = ["-m", str(VERIFIER), "-md", str(DRAFTER), "--deferral-rule", name]
    for flag, value in zip(("--deferral-alpha", "--gamma"), rest):
        if value:
            float(value)
            # One word, so that a negative value is not read as a flag.
            flags.append(f"{flag}={value}")
    return flags + rest[2:]


def ask(command, requests):
    """Objects in, one per line; objects out, from the program's standard output."""
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests)
    done = subprocess.run([str(word) for word in command], input=lines.encode(), stdout=subprocess.PIPE,
                          check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def run(setting, prompts, *, temp, seed, threads, max_tokens=128):
    """One process over all prompts, one at a time; returns its JSON objects in input order."""
    # One seed per prompt: equal prompts must not share draws, nor may neighbouring runs.
    requests = [{"prompt": p, "seed": seed * 1_000_003 + i} for i, p in enumerate(prompts)]
    command = [str(PROGRAM), "generate", *setting_flags(setting), "--jsonl", "--temp", str(temp),
               "--measure-rejection", "-n", str(max_tokens), "-np", "1", "-t", str(threads), "-q"]
    out = ask(command, requests)
    if len(out) != len(prompts):
        raise RuntimeError(f"{' '.join(command)}: {len(out)} answers to {len(prompts)} prompts")
    return out


def totals(answers):
    """Sums over the answers of one run, in milliseconds; rates per examined row, drafted token, token."""
    t = {"answers": len(answers)}
    t["tokens"] = sum(a["timings"]["predicted_n"] for a in answers)
    t["prompt_ms"] = sum(a["timings"]["prompt_ms"] for a in answers)
    t["decode_ms"] = sum(a["timings"]["predicted_ms"] for a in answers)
    t["at_limit"] = sum(a["finish_reason"] == "length" for a in answers)
    metrics = [speculative(a) for a in answers]
    for key in ("num_spec_steps", "num_accepted_draft_tokens", "num_draft_tokens", "resampled_tokens",
                "verifier_calls"):
        t[key] = sum(m.get(key) or 0 for m in metrics)
    # The rates are per answer: weighted by the rows that the accept step examined. A rate that an answer does
    # not have, since nobody asked for it, is not 0.
    examined = [m for m in metrics if m.get("examined_rows")]
    rows = sum(m["examined_rows"] for m in examined)
    for key in ("rejection_rate", "deferral_rate"):
        known = rows and all(m.get(key) is not None for m in examined)
        t[key] = sum(m[key] * m["examined_rows"] for m in examined) / rows if known else None
    return t


def speculative(answer):
    metrics = answer.get("metrics") or {}
    return metrics.get("speculative_decoding") or metrics


def tokens_per_second(t, whole=True):
    """Tokens per second of whole answers (prompt included) or of decoding alone."""
    return 1000.0 * t["tokens"] / (t["decode_ms"] + (t["prompt_ms"] if whole else 0.0))


def accepted(t):
    """The share of drafts that stood, of totals."""
    drafts = t["num_draft_tokens"]
    return f"{100 * t['num_accepted_draft_tokens'] / drafts:.0f} %" if drafts else "–"


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def machine():
    """One line about the machine, for the head of a table."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")),
                         model)
    except OSError:
        pass
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def markdown(header, rows):
    """A table with columns padded, so that it reads as text too."""
    cells = [header] + [[str(c) for c in row] for row in rows]
    width = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, width)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in width) + "|")
    return "\n".join(lines)
