"""Speed of prompt lookup (-md ngram) against the verifier alone, greedy, on prompts whose answers repeat
parts of them, and on some that do not. Settings are interleaved, round after round, one process each; ratios
are of a round. --cpu, for a machine that others use, too: CPU seconds of one thread in place of wall clock,
less those of a run that writes one token a prompt. Prompts come from ../shared/data: MBPP, XSum, Spec-Bench.

    python3 bench/ngram.py --model qwen2.5-coder-1.5b.gguf [--draft qwen2.5-coder-0.5b.gguf]
"""
import argparse
import datetime
import json
import re
import resource
import sys
from pathlib import Path

from weir_runs import (PROGRAM, RESULTS, ROOT, accepted, ask, machine, markdown, median, spread,
                       tokens_per_second, totals)

DATA = ROOT.parent / "shared" / "data"


def lines(name):
    with open(DATA / name, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def edits(n):
    """A function, to be given back with a change."""
    ask_for = ("Rename the first function to solve, also where it is called. Change nothing else. Answer "
               "with the whole program only.")
    long = [r["code"].replace("\r\n", "\n") for r in lines("mbpp/mbpp.jsonl") if len(r["code"]) > 300]
    return [f"```python\n{code}\n```\n{ask_for}" for code in long[:n]]


def writes(n):
    """A function from its description: little to look up."""
    rows = lines("mbpp/mbpp.jsonl")[:n]
    return [f"{r['text']} The code must pass this test:\n{r['test_list'][0]}" for r in rows]


def quotes(n):
    """An article, of which some sentences are to be repeated."""
    texts = [re.sub(r"^#+\s*Article:\s*", "", r["article"]) for r in lines("xsum/xsum_0shot_1000.jsonl")]
    texts = [re.sub(r"\s*Summarize the above article.*$", "", t, flags=re.S).strip() for t in texts]
    return [f"{t}\n\nSummarise this article in one sentence. Then quote the three sentences of it that "
            "matter most, word for word." for t in texts if len(t) < 3000][:n]


def chats(n):
    """A question about passages, to be answered with quotes."""
    rows = [r for r in lines("spec_bench/question.jsonl") if r["category"] == "rag"]
    rows = [r for r in rows if len(r["turns"][0]) < 4000]
    return [f"{r['turns'][0]}\n\nAnswer, and support the answer with quotes from the passages above, word "
            "for word." for r in rows[:n]]


TASKS = {"MBPP, edit given code": edits, "XSum, summary with quotes": quotes,
         "Spec-Bench RAG, chat with quotes": chats, "MBPP, write code": writes}


def run(o, flags, prompts, tokens):
    """Answers, and CPU seconds of the process."""
    requests = [{"messages": [{"role": "user", "content": p}]} for p in prompts]
    command = [o.program, "generate", "-m", o.model, *flags, "--jsonl", "--temp", "0", "-n", str(tokens),
               "-np", "1", "-t", str(o.threads), "-q"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = ask(command, requests)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if len(out) != len(prompts):
        sys.exit(f"{len(out)} answers to {len(prompts)} prompts: {command}")
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def settings(o):
    found = {"verifier alone": []}
    for gamma in o.gammas:
        for least in o.mins:
            found[f"ngram, gamma {gamma}, min {least}"] = ["-md", "ngram", "--gamma", str(gamma),
                                                           "--prompt-lookup-min", str(least)]
    if o.draft:
        found["drafter, exact, gamma 5"] = ["-md", o.draft, "--gamma", "5"]
    return found


def speed(answers, cpu, cpu_of_prompts):
    """Tokens a second of decoding; of CPU seconds where those of the prompts are known."""
    t = totals(answers)
    if cpu_of_prompts:
        return (t["tokens"] - len(answers)) / (cpu - cpu_of_prompts)
    return tokens_per_second(t, whole=False)


def drafts(answers):
    """Tokens a verifier call, and the share of drafts that were accepted."""
    t = totals(answers)
    return f"{t['tokens'] / t['verifier_calls']:.2f}", accepted(t)


def measure(o, name, make):
    prompts, answers, speeds = make(o.prompts), {}, {s: [] for s in settings(o)}
    for k in range(o.rounds):
        of_prompts = run(o, [], prompts, 1)[1] if o.cpu else 0.0
        for setting, flags in settings(o).items():
            answers[setting], cpu = run(o, flags, prompts, o.tokens)
            speeds[setting].append(speed(answers[setting], cpu, of_prompts))
            print(f"{name}: round {k + 1}, {setting}: {speeds[setting][-1]:.2f} tokens/s", file=sys.stderr)
    alone, rows = "verifier alone", []
    for setting, found in speeds.items():
        ratios = [a / b for a, b in zip(found, speeds[alone])]
        same = sum(a["text"] == b["text"] for a, b in zip(answers[setting], answers[alone]))
        rows.append([name, setting, f"{median(found):.1f}", spread(ratios), *drafts(answers[setting]),
                     f"{same} of {len(prompts)}"])
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--draft")
    p.add_argument("--program", default=str(PROGRAM))
    p.add_argument("--prompts", type=int, default=6)
    p.add_argument("--tokens", type=int, default=96)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--cpu", action="store_true", help="CPU seconds, with --threads 1")
    p.add_argument("--gammas", type=int, nargs="+", default=[5])
    p.add_argument("--mins", type=int, nargs="+", default=[2])
    p.add_argument("--tasks", nargs="+", help="words of the tasks to run")
    p.add_argument("--out", default=str(RESULTS / "ngram.md"))
    o = p.parse_args()
    rows = []
    for name, make in TASKS.items():
        if not o.tasks or any(t.lower() in name.lower() for t in o.tasks):
            rows += measure(o, name, make)
    head = ["task", "setting", "tokens/s", "× verifier alone, of a round: median (least, most)",
            "tokens a verifier call", "drafts accepted", "same text"]
    files = f"--model {Path(o.model).name}" + (f" --draft {Path(o.draft).name}" if o.draft else "")
    text = (f"# Prompt lookup (`-md ngram`)\n\n{datetime.date.today()}, {machine()}, {o.threads} threads, "
            f"greedy, {o.prompts} prompts a task, up to {o.tokens} tokens each, {o.rounds} rounds, "
            f"interleaved.\nTokens/s of decoding alone{', by CPU seconds' if o.cpu else ''}.\n\n"
            f"    python3 bench/ngram.py {files} --prompts {o.prompts} --tokens {o.tokens} "
            f"--rounds {o.rounds} --threads {o.threads}{' --cpu' if o.cpu else ''}"
            f"{' --tasks ' + ' '.join(o.tasks) if o.tasks else ''}\n\n"
            f"{markdown(head, rows)}\n")
    with open(o.out, "w", encoding="utf-8") as f:
        f.write(text)
    print(text)


if __name__ == "__main__":
    main()
