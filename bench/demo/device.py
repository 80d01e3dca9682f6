"""The demo pair on a device: greedy answers compared with those of transformers, and speeds with transformers
on the same GPU.

The reference answers (models/demo/greedy_200.jsonl) come from transformers in fp32. If torch, transformers
and sentencepiece can be imported and torch finds a GPU, transformers runs there too, in bf16, plain and
assisted, with its own count of matching answers. Newer versions tie embeddings that this checkpoint keeps
apart, so the head is set from the file. Otherwise only the standard library is needed. Exits 1 if weir's
answers differ from the reference more often than bf16 rounding explains.

    python3 bench/demo/device.py --weir bin/weir --device cuda --csv demo.csv
"""
import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VERIFIER, DRAFTER = ROOT / "models/demo/verifier", ROOT / "models/demo/drafter"
GAMMA, EOS = 5, 1
# Inputs rounded to bf16 decide a few near-ties otherwise. At least this share of greedy answers equals the
# reference.
SAME_SHARE = 0.9


def weir(args, flags, prompts, seed):
    """Answers of one process and its tokens per second, prompts included."""
    lines = "".join(json.dumps({"prompt": p, "seed": seed * 1_000_003 + i}) + "\n"
                    for i, p in enumerate(prompts))
    command = [args.weir, "generate", "-m", str(VERIFIER), *flags, "--device", args.device, "--jsonl", "-n",
               "128", "-np", "1", "-q"]
    done = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True)
    out = [json.loads(line) for line in done.stdout.splitlines()]
    ms = sum(a["timings"]["prompt_ms"] + a["timings"]["predicted_ms"] for a in out)
    return [a["token_ids"] for a in out], 1000.0 * sum(a["timings"]["predicted_n"] for a in out) / ms


def weir_cases(args):
    pair = ["-md", str(DRAFTER), "--gamma", str(GAMMA)]
    for temp in ("0", "1"):
        yield f"weir verifier T={temp}", temp == "0", ["--temp", temp]
        yield f"weir exact T={temp}", temp == "0", [*pair, "--deferral-rule", "exact", "--temp", temp]
        rule = ["--deferral-rule", "token-v2", "--deferral-alpha", "0.48"]
        yield f"weir token-v2 T={temp}", False, [*pair, *rule, "--temp", temp]


def transformers_cases():
    """Cases of transformers on the GPU; raises if something is missing."""
    import sentencepiece
    import torch
    from safetensors.torch import load_file
    from transformers import T5ForConditionalGeneration

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU")
    torch.set_grad_enabled(False)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(VERIFIER / "spiece.model"))

    def load(path):
        model = T5ForConditionalGeneration.from_pretrained(path, dtype=torch.bfloat16).eval()
        head = load_file(str(path / "model.safetensors"))["lm_head.weight"]
        model.lm_head.weight = torch.nn.Parameter(head.to(torch.bfloat16))
        model.config.tie_word_embeddings = False
        return model.to("cuda")

    verifier, drafter = load(VERIFIER), load(DRAFTER)
    drafter.generation_config.num_assistant_tokens = GAMMA
    drafter.generation_config.num_assistant_tokens_schedule = "constant"
    drafter.generation_config.assistant_confidence_threshold = 0.0

    def run(prompts, temp, assistant):
        sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0,
                    "top_p": 1.0} if temp else {"do_sample": False}
        if assistant:
            sampling["assistant_model"] = drafter
        answers, seconds = [], 0.0
        for text in prompts:
            ids = torch.tensor([pieces.encode(text) + [EOS]], device="cuda")
            torch.cuda.synchronize()
            start = time.perf_counter()
            out = verifier.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=128,
                                    **sampling)
            torch.cuda.synchronize()
            seconds += time.perf_counter() - start
            tokens = out[0].tolist()[1:]
            answers.append(tokens[:tokens.index(EOS)] if EOS in tokens else tokens)
        return answers, sum(map(len, answers)) / seconds

    for temp in (0, 1):
        for assistant in (False, True):
            name = f"transformers {'assisted' if assistant else 'generate'} bf16 T={temp}"
            yield name, temp == 0, lambda prompts, seed, t=temp, a=assistant: run(prompts, t, a)


def cases(args):
    for name, greedy, flags in weir_cases(args):
        yield name, greedy, lambda prompts, seed, f=flags: weir(args, f, prompts, seed)
    try:
        yield from transformers_cases()
    except Exception as e:  # whatever keeps a peer from running is a line of the report, not its end
        print(f"transformers not run: {type(e).__name__}: {e}")


def measure(args, prompts, want, run):
    """Median tokens per second over the rounds after a warm-up, and how many answers equal the reference."""
    answers, _ = run(prompts, 0)
    speeds = [run(prompts, seed)[1] for seed in range(1, args.rounds + 1)]
    return statistics.median(speeds), sum(a == w for a, w in zip(answers, want))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--weir", default=str(ROOT / "build" / "weir"))
    p.add_argument("--device", default="cuda")
    p.add_argument("--csv", type=Path)
    p.add_argument("--prompts", type=int, default=40)
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    lines = (ROOT / "models/demo/greedy_200.jsonl").read_text(encoding="utf-8").splitlines()[:args.prompts]
    reference = [json.loads(line) for line in lines]
    prompts, want = [r["prompt"] for r in reference], [r["token_ids"] for r in reference]
    rows, wrong = [], 0
    for name, greedy, run in cases(args):
        speed, same = measure(args, prompts, want, run)
        bad = greedy and name.startswith("weir") and same < SAME_SHARE * len(want)
        wrong += bad
        rows.append([name, f"{speed:.1f}", f"{same} of {len(want)}" if greedy else "",
                     "wrong" if bad else "ok"])
        print("{:40} {:>10} tokens/s   greedy as the reference: {:12} {}".format(*rows[-1]), flush=True)
    if args.csv:
        with open(args.csv, "w", encoding="utf-8", newline="") as f:
            csv.writer(f).writerows([["case", "tokens_per_second", "same_as_reference", "result"], *rows])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
