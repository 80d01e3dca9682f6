"""transformers and weir on the demo pair: the same prompts, threads, temperature and output limit, batch 1.

transformers runs plain generate and assisted generation (num_assistant_tokens = gamma, constant schedule;
with and without its confidence threshold, which ends drafts early) in fp32 and bf16. weir runs the verifier
alone, exact speculative decoding and one deferral rule on the same bf16 files. Rounds interleave all of them;
a row is the median over rounds of tokens/s, prompt included, tokenizer excluded, end-of-text not counted.
"""
import argparse
import datetime
import statistics
import sys
import time
from pathlib import Path

import sentencepiece
import torch
from transformers import T5ForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import weir_runs as runs  # noqa: E402  (found through the line above)

EOS = 1


class Peer:
    """The pair in transformers at one dtype."""

    def __init__(self, dtype):
        self.verifier = T5ForConditionalGeneration.from_pretrained(runs.VERIFIER, dtype=dtype).eval()
        self.drafter = T5ForConditionalGeneration.from_pretrained(runs.DRAFTER, dtype=dtype).eval()

    def generate(self, prompts, *, temp, max_tokens, gamma=None, confidence=0.0):
        """Token ids of each answer (end-of-text cut off) and seconds in generate. gamma None: no drafter."""
        sampling = {"do_sample": True, "temperature": temp, "top_k": 0, "top_p": 1.0} if temp > 0 else {
            "do_sample": False}
        if gamma is not None:
            config = self.drafter.generation_config
            config.num_assistant_tokens = gamma
            config.num_assistant_tokens_schedule = "constant"
            config.assistant_confidence_threshold = confidence
            sampling["assistant_model"] = self.drafter
        answers, seconds = [], 0.0
        for ids in prompts:
            start = time.perf_counter()
            out = self.verifier.generate(input_ids=ids, attention_mask=torch.ones_like(ids), num_beams=1,
                                         max_new_tokens=max_tokens, **sampling)
            seconds += time.perf_counter() - start
            tokens = out[0].tolist()[1:]
            answers.append(tokens[:tokens.index(EOS)] if EOS in tokens else tokens)
        return answers, seconds


def peer_case(dtype, title, prompts, args, temp, **how):
    """A measured case of transformers: (label, function of the round that returns answers and tokens/s)."""
    peer = Peer(dtype)

    def measure(seed):
        torch.manual_seed(seed)
        answers, seconds = peer.generate(prompts, temp=temp, max_tokens=args.max_tokens, **how)
        return answers, sum(map(len, answers)) / seconds

    return f"transformers {title}", measure


def weir_case(setting, title, texts, args, temp):
    def measure(seed):
        answers = runs.run(setting, texts, temp=temp, seed=seed, threads=args.threads,
                           max_tokens=args.max_tokens)
        return [a["token_ids"] for a in answers], runs.tokens_per_second(runs.totals(answers))

    return f"weir {title}", measure


def cases(args, temp, texts, prompts):
    """All cases at one temperature, in the order of the table."""
    found = []
    for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        found.append(peer_case(dtype, f"generate, {name}", prompts, args, temp))
        for confidence in (0.0, 0.4):
            found.append(peer_case(dtype, f"assisted, {name}, threshold {confidence:g}", prompts, args, temp,
                                   gamma=args.gamma, confidence=confidence))
    found.append(weir_case("verifier", "verifier alone", texts, args, temp))
    found.append(weir_case(f"exact::{args.gamma}", "exact", texts, args, temp))
    found.append(weir_case(args.setting, args.setting, texts, args, temp))
    return found


def table_of(args, temp, texts, prompts):
    """Runs the rounds at one temperature; returns table rows and the answers of the first round by label."""
    todo = cases(args, temp, texts, prompts)
    speeds, first = {label: [] for label, _ in todo}, {}
    for seed in range(args.rounds + 1):
        for label, measure in todo:
            answers, speed = measure(seed)
            if seed > 0:  # round 0 warms up
                speeds[label].append(speed)
                first.setdefault(label, answers)
    plain = max(statistics.median(v) for k, v in speeds.items() if k.startswith("transformers generate"))
    assisted = max(statistics.median(v) for k, v in speeds.items() if k.startswith("transformers assisted"))
    rows = []
    for label, values in speeds.items():
        speed = statistics.median(values)
        rows.append([f"{temp:g}", label, f"{speed:.0f}", f"{speed / plain:.2f}", f"{speed / assisted:.2f}"])
    return rows, first


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--prompts", type=int, default=40, help="the first N of the sample (default 40)")
    p.add_argument("--rounds", type=int, default=5, help="measured rounds (default 5)")
    p.add_argument("--threads", type=int, default=2, help="threads of both engines (default 2)")
    p.add_argument("--gamma", type=int, default=5, help="drafted tokens per block (default 5)")
    p.add_argument("--max-tokens", type=int, default=128, help="output limit (default 128)")
    p.add_argument("--setting", default="token-v2:0.48:4",
                   help="weir's deferral rule, RULE:ALPHA:GAMMA (default %(default)s)")
    return p.parse_args()


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    texts = [p["prompt"] for p in runs.read_pairs(args.prompts)]
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(runs.VERIFIER / "spiece.model"))
    prompts = [torch.tensor([pieces.encode(t) + [EOS]]) for t in texts]
    rows, notes = [], []
    for temp in (0.0, 1.0):
        found, first = table_of(args, temp, texts, prompts)
        rows += found
        if temp == 0:
            same = sum(a == b for a, b in zip(first["transformers generate, fp32"],
                                              first["weir verifier alone"]))
            notes.append(f"Greedy answers of weir's verifier equal to transformers' in fp32: {same} of "
                         f"{len(texts)}.")
    head = (f"{datetime.date.today()}, {runs.machine()}, {args.threads} threads, batch 1, {len(texts)} "
            f"prompts, median of {args.rounds} rounds, interleaved.\nCommand: ./make.sh peers "
            f"{' '.join(sys.argv[1:])}").rstrip()
    table = runs.markdown(["T", "engine", "tokens/s", "× best plain", "× best assisted"], rows)
    text = "\n\n".join([head, table, *notes]) + "\n"
    runs.RESULTS.mkdir(exist_ok=True)
    (runs.RESULTS / "peers_transformers.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
