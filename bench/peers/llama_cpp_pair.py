"""llama.cpp and weir on one pair of GGUF files: the same files, prompts, threads and limits, batch 1, greedy.

Builds llama.cpp from the source distribution of llama-cpp-python (from the package index; it contains all of
llama.cpp), natively, and links llama_cpp.c to it. Parts, in this order:

    tokens        the first 64 greedy tokens of 20 prompts; a difference is shown with llama.cpp's gap between
                  its two
                  likeliest logits there, in nats
    perplexity    of 20 texts, every token but the first
    float         the same perplexity of transformers with the file's weights in float32, and whose token it
                  takes where the two
                  engines differ; needs torch, transformers and gguf (PYTHON names a Python that has them) and
                  4 bytes of memory per weight
    speed         tokens/s of prompts and of decoding, rounds interleaved
    speculative   gamma drafted tokens per block, and weir's gamma auto: weir's exact decoding and its
                  deferral rule, llama.cpp plain and with llama-speculative-simple (draft-simple, confidence
                  thresholds off); ratios are to the faster of the two
    lookup        drafts from the text itself: weir's -md ngram, llama.cpp's ngram-simple as it comes and with
                  shorter keys, on prompts of ../shared/data whose answers repeat them, and on some that do
                  not; ratios are to the faster of llama.cpp's
    types         the drafter requantised by llama-quantize to each type of blocks: what the new file holds
                  (rows that are no multiples of a block become another type), and `tokens` of it; with
                  --judge also whose token float32 takes, as in `float`
    type_speed    weir's decoding of the verifier in each of these types, rounds interleaved: time per byte of
                  the weights that a token reads, as a ratio to q4_k's. weir alone
"""
import argparse
import datetime
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import weir_runs as runs  # noqa: E402  (found through the line above)
from ngram import TASKS  # noqa: E402

VERSION = "0.3.36"
BUILD = runs.ROOT / "build" / "peers"
DATA = runs.ROOT / "bench" / "lab" / "data"
CONTEXT = 2048
LOOKUP = {"ngram-simple": [], "ngram-simple, keys of 3, drafts of 5":
          ["--spec-ngram-simple-size-n", "3", "--spec-ngram-simple-size-m", "5"]}
# llama-quantize's names of the types of blocks that weir reads.
TYPES = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
         "iq4_xs")
END_LINES = 30  # shown of a failed build, as make.sh does
# Processor flags of Linux and llama.cpp's options for them; all but AMX.
ISA = {"sse4_2": "SSE42", "avx": "AVX", "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "bmi2": "BMI2",
       "avx_vnni": "AVX_VNNI", "avx512bw": "AVX512", "avx512_vbmi": "AVX512_VBMI",
       "avx512vbmi": "AVX512_VBMI", "avx512_vnni": "AVX512_VNNI", "avx512_bf16": "AVX512_BF16"}


# ---- llama.cpp ---------------------------------------------------------------------------------------------

def isa_options(no_amx):
    """CMake options: all that this machine has, or all but AMX."""
    if not no_amx:
        return ["-DGGML_NATIVE=ON"]
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        flags = next(line for line in f if line.startswith("flags")).split()
    return ["-DGGML_NATIVE=OFF"] + sorted({f"-DGGML_{ISA[f]}=ON" for f in flags if f in ISA})


def quietly(name, command):
    """Runs it with its output in a log. If it fails, prints the log's end and ends this script."""
    path = BUILD / f"{name}.log"
    with open(path, "wb") as log:
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if status != 0:
        end = path.read_text(errors="replace").splitlines()[-END_LINES:]
        sys.exit("\n".join([*end, f"llama_cpp_pair.py: status {status} of: {' '.join(command)}; the whole "
                                  f"log: {path}"]))


def build_peer(no_amx):
    """Compiles what is missing; returns the folder of programs."""
    BUILD.mkdir(parents=True, exist_ok=True)
    source, work = BUILD / f"llama_cpp_python-{VERSION}", BUILD / "llama.cpp"
    if not source.exists():
        package = f"llama-cpp-python=={VERSION}"
        quietly("download", [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary",
                             ":all:", "-d", str(BUILD), package])
        with tarfile.open(BUILD / f"llama_cpp_python-{VERSION}.tar.gz") as archive:
            archive.extractall(BUILD, filter="data")
    tree = source / "vendor" / "llama.cpp"
    quietly("configure", ["cmake", "-S", str(tree), "-B", str(work), "-G", "Ninja",
                          "-DCMAKE_BUILD_TYPE=Release", *isa_options(no_amx), "-DLLAMA_BUILD_TESTS=OFF",
                          "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF"])
    quietly("compile", ["cmake", "--build", str(work), "--target", "llama", "llama-speculative-simple",
                        "llama-quantize"])
    programs = work / "bin"
    quietly("link", [os.environ.get("CC", "cc"), "-O2", "-Wall", "-o", str(programs / "llama_cpp"),
                     str(Path(__file__).with_name("llama_cpp.c")), f"-I{tree}/include",
                     f"-I{tree}/ggml/include", f"-L{programs}", f"-Wl,-rpath,{programs}", "-lllama", "-lggml",
                     "-lggml-base", "-ljansson", "-lm"])
    return programs


def llama(programs, args, model, requests):
    """Answers of llama_cpp.c, whose head lists the requests; one process per call."""
    return runs.ask([programs / "llama_cpp", model, args.threads, CONTEXT], requests)


def llama_greedy(programs, args, model, prompts):
    return llama(programs, args, model, [{"prompt": p, "n": args.tokens} for p in prompts])


def draft_model(args):
    """Options of llama-speculative-simple: the drafter, confidence thresholds off."""
    return ["-md", args.drafter, "--spec-type", "draft-simple", "--spec-draft-n-max", args.gamma,
            "--spec-draft-n-min", "0", "--spec-draft-p-min", "0", "-td", args.threads]


def llama_speculative(programs, args, prompt, drafts):
    """(decoded tokens, seconds, drafted, accepted) of llama.cpp's example on one prompt."""
    command = [programs / "llama-speculative-simple", "-m", args.verifier, "-p", prompt, "-n", args.tokens,
               "--temp", "0", *drafts, "-t", args.threads, "-c", CONTEXT, "-lv", "4"]
    command = [str(c) for c in command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=True)
    text = done.stdout.decode(errors="replace")
    spent = re.search(r"decoded +(\d+) tokens in +([0-9.]+) seconds", text)
    counts = [re.search(rf"{name} += +(\d+)", text) for name in ("n_drafted", "n_accept")]
    if not spent or not all(counts):
        raise RuntimeError(f"{' '.join(command)}: no timings in its output:\n{text[-2000:]}")
    return int(spent[1]), float(spent[2]), int(counts[0][1]), int(counts[1][1])


def requantised(programs, args, model, kind):
    """(path, {type: matrices}, MiB that a token reads) of the model with every matrix in that type, as far as
    llama-quantize can: it makes rows that are no multiples of a block another type. A file that is there
    stays."""
    folder = args.requantised.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model.stem}-{kind}.gguf"
    log, part = BUILD / f"{path}.log", path.with_suffix(".part")
    if not path.exists():
        # mxfp4 is no type of a whole file, so one of those is named and every tensor's type given
        quietly(path, [str(programs / "llama-quantize"), "--allow-requantize", "--pure", "--tensor-type",
                       f".={kind}", str(model), str(part), "Q4_0", str(args.threads)])
        part.rename(path)
    found = re.findall(r"\] +(\S+) +- \[.*?\], type = +(\S+?),(?: converting to (\S+) \.\.)? size = +([\d.]+)"
                       r" MiB(?: -> +([\d.]+) MiB)?", log.read_text(errors="replace"))
    if not found:
        sys.exit(f"llama_cpp_pair.py: {log}: no tensors in llama-quantize's output; delete {path}")
    held, names = {}, {name for name, *_ in found}
    for _, was, became, *_ in found:
        if (was, became) != ("f32", ""):
            held[became or was] = held.get(became or was, 0) + 1
    # rows of the embedding are looked up, not multiplied, unless it makes the logits too
    read_ = [float(after or before) for name, _, _, before, after in found
             if name != "token_embd.weight" or "output.weight" not in names]
    return path, held, sum(read_)


# ---- weir --------------------------------------------------------------------------------------------------

def weir(command, requests, *flags):
    return runs.ask([runs.PROGRAM, command, *flags], requests)


def weir_greedy(args, model, prompts, *flags):
    return weir("generate", [{"prompt": p} for p in prompts], "-m", model, "--jsonl", "--temp", 0, "-n",
                args.tokens, "-np", 1, "-t", args.threads, "-c", CONTEXT, "--ignore-eos", "-q", *flags)


def weir_ids(model, texts):
    answers = weir("tokenize", [{"text": t} for t in texts], "-m", model, "--jsonl", "--input", "-", "-q")
    return [a["token_ids"] for a in answers]


# ---- prompts and texts -------------------------------------------------------------------------------------

def read(name):
    with open(DATA / name, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def prompts_of(n):
    """Half of them grade-school mathematics, half programming tasks."""
    mathematics = [f"Question: {p['question']}\nAnswer:" for p in read("gsm8k_test_60.jsonl")[:n // 2]]
    programs = [f'"""{p["text"]}\n{p["test_list"][0]}\n"""\n' for p in read("mbpp_63.jsonl")[:n - n // 2]]
    return mathematics + programs


def texts_of(n):
    """The next problems with their solutions."""
    mathematics = [f"Question: {p['question']}\nAnswer: {p['answer']}"
                   for p in read("gsm8k_test_60.jsonl")[n // 2:n]]
    programs = [f'"""{p["text"]}\n"""\n{p["code"]}' for p in read("mbpp_63.jsonl")[n:2 * n - n // 2]]
    return mathematics + programs


# ---- the parts ---------------------------------------------------------------------------------------------

def greedy_pairs(programs, args, model):
    """[(llama.cpp's answer, weir's, index of the first token that differs or None)] of every prompt; computed
    once per run."""
    if model not in args.pairs:
        prompts = prompts_of(args.prompts)
        theirs, ours = llama_greedy(programs, args, model, prompts), weir_greedy(args, model, prompts)
        args.pairs[model] = [(a, b, next((k for k, (x, y) in enumerate(zip(a["token_ids"], b["token_ids"]))
                                          if x != y), None))
                             for a, b in zip(theirs, ours)]
    return args.pairs[model]


def tokens_of(programs, args, model):
    """(row of the table, notes) of one file."""
    pairs = greedy_pairs(programs, args, model)
    notes = [f"- {model.name}, prompt {i + 1}: token {at + 1}, llama.cpp's gap {a['gaps'][at]:.3f} nats "
             f"(median of the answer {statistics.median(a['gaps']):.1f})."
             for i, (a, _, at) in enumerate(pairs) if at is not None]
    return [model.name, f"{sum(at is None for _, _, at in pairs)} of {len(pairs)}"], notes


def part_tokens(programs, args):
    rows, notes = [], []
    for model in (args.verifier, args.drafter):
        row, of_model = tokens_of(programs, args, model)
        rows.append(row)
        notes += of_model
    return [runs.markdown(["model", f"first {args.tokens} greedy tokens equal"], rows), "\n".join(notes)]


def part_perplexity(programs, args):
    texts, rows = texts_of(args.prompts), []
    for model in (args.verifier, args.drafter):
        theirs = llama(programs, args, model, [{"text": t} for t in texts])
        requests = [{"prompt_ids": a["token_ids"][:1], "completion_ids": a["token_ids"][1:]} for a in theirs]
        ours = weir("score", requests, "-m", model, "-t", args.threads, "-c", CONTEXT, "-q")
        ids = weir_ids(model, texts)
        sums, count, worst = [0.0, 0.0], 0, 0.0
        for a, b in zip(theirs, ours):
            for k, side in enumerate((a, b)):
                sums[k] -= math.fsum(side["logprobs"])
            count += len(a["logprobs"])
            worst = max(worst, max(abs(x - y) for x, y in zip(a["logprobs"], b["logprobs"])))
        ppl = [math.exp(s / count) for s in sums]
        same_ids = sum(a["token_ids"] == b for a, b in zip(theirs, ids))
        rows.append([model.name, count, f"{same_ids} of {len(texts)}", f"{ppl[0]:.4f}", f"{ppl[1]:.4f}",
                     f"{100 * (ppl[1] / ppl[0] - 1):+.2f} %", f"{worst:.2f}"])
    return [runs.markdown(["model", "tokens", "texts of equal ids", "perplexity, llama.cpp", "weir",
                           "difference", "largest of one token, nats"], rows)]


def float_logprobs(model, ids):
    """Log-probabilities (len(ids), n_vocab) of what follows each prefix, float32."""
    import torch

    with torch.inference_mode():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)


TAKEN = ("llama.cpp's", "weir's", "another")


def float_model(args, path):
    """The file's weights in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()


def taken_by(programs, args, model, path):
    """How often float32 takes each of TAKEN's tokens where the two engines' answers part."""
    taken = dict.fromkeys(TAKEN, 0)
    prompts = weir_ids(path, prompts_of(args.prompts))
    for prompt, (a, b, at) in zip(prompts, greedy_pairs(programs, args, path)):
        if at is not None:
            best = int(float_logprobs(model, prompt + a["token_ids"][:at])[-1].argmax())
            taken[TAKEN[0] if best == a["token_ids"][at] else
                  TAKEN[1] if best == b["token_ids"][at] else TAKEN[2]] += 1
    return taken.values()


def part_float(programs, args):
    texts, rows = texts_of(args.prompts), []
    for path in (args.verifier, args.drafter):
        model, total, count = float_model(args, path), 0.0, 0
        for ids in weir_ids(path, texts):
            found = float_logprobs(model, ids)
            total -= math.fsum(found[k, t].item() for k, t in enumerate(ids[1:]))
            count += len(ids) - 1
        rows.append([path.name, count, f"{math.exp(total / count):.4f}",
                     *taken_by(programs, args, model, path)])
        del model
    return [runs.markdown(["model", "tokens", "perplexity, float32", *(f"takes {w} token" for w in TAKEN)],
                          rows)]


def speeds(answers, n_decoded):
    """(prompt tokens/s, decoded tokens/s) of llama.cpp's or weir's answers."""
    t = [a.get("timings", a) for a in answers]
    n_prompt = sum(len(a["prompt_ids"]) if "prompt_ids" in a else a["timings"]["prompt_n"] for a in answers)
    return (1e3 * n_prompt / sum(x["prompt_ms"] for x in t),
            1e3 * n_decoded * len(t) / sum(x["predicted_ms"] for x in t))


def ratio_of(values, base):
    """The ratios of rounds that ran side by side: median (least, most)."""
    return runs.spread([a / b for a, b in zip(values, base)])


def part_speed(programs, args):
    prompts, rows = prompts_of(args.timed), []
    for model in (args.verifier, args.drafter):
        found = {"llama.cpp": [], "weir": []}
        for _ in range(args.rounds + 1):
            theirs = llama_greedy(programs, args, model, prompts)
            # its first token comes from the prompt's pass
            found["llama.cpp"].append(speeds(theirs, args.tokens - 1))
            found["weir"].append(speeds(weir_greedy(args, model, prompts), args.tokens))
        # round 0 warms up
        median = {k: [statistics.median(c) for c in zip(*v[1:])] for k, v in found.items()}
        for k, what in enumerate(("prompt", "decode")):
            ratio = ratio_of(*([round_[k] for round_ in found[name][1:]] for name in ("weir", "llama.cpp")))
            rows.append([model.name, what, f"{median['llama.cpp'][k]:.1f}", f"{median['weir'][k]:.1f}",
                         ratio])
    return [runs.markdown(["model", "", "llama.cpp, tokens/s", "weir, tokens/s",
                           "ratio, of a round: median (least, most)"], rows)]


def rounds_of(programs, args, prompts, drafts, settings):
    """Decoded tokens/s of every round and a note on accepted drafts, by name, interleaved: the verifier alone
    in llama.cpp, llama-speculative-simple with each option list of drafts, weir with each of settings."""
    found, notes = {}, {}

    def add(name, tokens_per_second, number):
        if number > 0:  # round 0 warms up
            found.setdefault(name, []).append(tokens_per_second)

    for number in range(args.rounds + 1):
        answers = llama_greedy(programs, args, args.verifier, prompts)
        add("llama.cpp, verifier alone", speeds(answers, args.tokens - 1)[1], number)
        for name, options in drafts.items():
            runs_ = [llama_speculative(programs, args, p, options) for p in prompts]
            add(name, sum(r[0] for r in runs_) / sum(r[1] for r in runs_), number)
            notes[name] = f"{sum(r[3] for r in runs_)} of {sum(r[2] for r in runs_)}"
        for name, flags in settings.items():
            t = runs.totals(weir_greedy(args, args.verifier, prompts, *flags))
            add(name, runs.tokens_per_second(t, whole=False), number)
            if t["num_draft_tokens"]:
                notes[name] = f"{t['num_accepted_draft_tokens']} of {t['num_draft_tokens']}"
    return found, notes


def speculative_table(what, found, notes):
    best = max((n for n in found if n.startswith("llama.cpp")), key=lambda n: statistics.median(found[n]))
    bases = (best, "weir, verifier alone")
    rows = [[name, f"{statistics.median(v):.1f}", *(ratio_of(v, found[base]) for base in bases),
             notes.get(name, "–")] for name, v in found.items()]
    return runs.markdown([what, "decode, tokens/s", *(f"ratio to {base}" for base in bases),
                          "drafts accepted"], rows)


def part_speculative(programs, args):
    fixed, auto = (["-md", args.drafter, "--gamma", g] for g in (args.gamma, "auto"))
    rule = ["--deferral-rule", args.rule.split(":")[0], "--deferral-alpha", args.rule.split(":")[1]]
    settings = {"weir, verifier alone": [], "weir, exact": fixed, "weir, exact, gamma auto": auto,
                "weir, " + args.rule: [*fixed, *rule], f"weir, {args.rule}, gamma auto": [*auto, *rule]}
    drafts = {"llama.cpp, llama-speculative-simple": draft_model(args)}
    return [speculative_table(f"gamma {args.gamma}, T = 0",
                              *rounds_of(programs, args, prompts_of(args.timed), drafts, settings))]


def part_lookup(programs, args):
    settings = {"weir, verifier alone": [], "weir, -md ngram": ["-md", "ngram"]}
    drafts = {f"llama.cpp, {name}": ["--spec-type", "ngram-simple", *options]
              for name, options in LOOKUP.items()}
    return [speculative_table(f"{task}, T = 0",
                              *rounds_of(programs, args, [f"{p}\n\n" for p in make(args.lookups)], drafts,
                                         settings))
            for task, make in TASKS.items()]


def part_types(programs, args):
    rows, notes = [], []
    for kind in args.types:
        path, held, _ = requantised(programs, args, args.drafter, kind)
        row, of_file = tokens_of(programs, args, path)
        gaps = [a["gaps"][at] for a, _, at in greedy_pairs(programs, args, path) if at is not None]
        rows.append([kind, ", ".join(f"{n} {t}" for t, n in held.items()), row[1],
                     f"{max(gaps):.3f}" if gaps else "–"])
        if args.judge:
            rows[-1] += taken_by(programs, args, float_model(args, path), path)
        notes += of_file
        print(*rows[-1], *of_file, sep="\n  ", file=sys.stderr, flush=True)
    return [f"Of {args.drafter.name}.",
            runs.markdown(["type", "matrices", f"first {args.tokens} greedy tokens equal",
                           "llama.cpp's largest gap at a difference, nats",
                           *(f"float32 takes {w} token" for w in TAKEN if args.judge)], rows),
            "\n".join(notes)]


def part_type_speed(programs, args):
    prompts = prompts_of(args.timed)
    kinds = ["q4_k", *(k for k in args.types if k != "q4_k")]
    files = {kind: requantised(programs, args, args.verifier, kind) for kind in kinds}
    found = {kind: [] for kind in kinds}
    for number in range(args.rounds + 1):
        for kind, (path, _, mib) in files.items():
            rate = speeds(weir_greedy(args, path, prompts), args.tokens)[1]
            if number > 0:  # round 0 warms up
                found[kind].append((rate, 1e12 / (rate * mib * 2**20)))
    base = [x[1] for x in found["q4_k"]]
    rows = []
    for kind, values in found.items():
        (rate, took), mib = (statistics.median(c) for c in zip(*values)), files[kind][2]
        rows.append([kind, f"{mib:.1f}", f"{rate:.1f}", f"{took:.1f}",
                     ratio_of([x[1] for x in values], base)])
    return [f"Of {args.verifier.name}.",
            runs.markdown(["type", "MiB a token reads", "tokens/s", "ps per byte",
                           "time per byte, to q4_k's of the round: median (least, most)"], rows)]


PARTS = {"tokens": part_tokens, "perplexity": part_perplexity, "float": part_float, "speed": part_speed,
         "speculative": part_speculative, "lookup": part_lookup, "types": part_types,
         "type_speed": part_type_speed}
TIMED = ("speed", "speculative", "lookup", "type_speed")


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", type=Path, default=os.environ.get("WEIR_REAL_MODELS"), metavar="DIR",
                   help="folder of the GGUF files (default: the environment's WEIR_REAL_MODELS)")
    p.add_argument("--verifier", default="qwen2.5-coder-1.5b.gguf", help="file in DIR (default %(default)s)")
    p.add_argument("--drafter", default="qwen2.5-coder-0.5b.gguf", help="file in DIR (default %(default)s)")
    p.add_argument("--prompts", type=int, default=20, help="prompts, and texts (default 20)")
    p.add_argument("--timed", type=int, default=8, help="prompts of the timed parts (default 8)")
    p.add_argument("--lookups", type=int, default=3, help="prompts of a task of lookup (default 3)")
    p.add_argument("--tokens", type=int, default=64, help="tokens of an answer (default 64)")
    p.add_argument("--rounds", type=int, default=3, help="measured rounds (default 3)")
    p.add_argument("--threads", type=int, default=2, help="threads of both engines (default 2)")
    p.add_argument("--gamma", type=int, default=5, help="drafted tokens per block (default 5)")
    p.add_argument("--rule", default="token-v3:0.5",
                   help="weir's deferral rule, RULE:ALPHA (default %(default)s)")
    p.add_argument("--no-amx", action="store_true",
                   help="build llama.cpp without AMX (its kernels end with an illegal instruction on some "
                        "virtual machines)")
    p.add_argument("--parts", nargs="+", choices=PARTS,
                   default=["tokens", "perplexity", "speed", "speculative"],
                   help="default: tokens, perplexity, speed, speculative; what the file says of other parts "
                        "stays")
    p.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES),
                   help="of types and type_speed (default: all)")
    p.add_argument("--judge", action="store_true", help="part types: ask float32 too")
    p.add_argument("--requantised", type=Path, default=BUILD / "types", metavar="DIR",
                   help="folder of the requantised files (default: build/peers/types)")
    p.add_argument("--out", type=Path, default=runs.RESULTS / "peers_llama_cpp.md",
                   help="default bench/results/peers_llama_cpp.md")
    args = p.parse_args()
    if args.models is None:
        p.error("--models DIR or WEIR_REAL_MODELS: where the GGUF files lie")
    args.verifier, args.drafter = args.models / args.verifier, args.models / args.drafter
    for path in (args.verifier, args.drafter):
        if not path.is_file():
            p.error(f"{path}: no such file")
    args.pairs = {}
    if not shutil.which("cmake"):
        p.error("cmake is not installed")
    return args


def sections_of(path):
    """{part: text} of a file that this script wrote."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return {name: body.strip() for name, body in found}


def main():
    args = parse_args()
    programs = build_peer(args.no_amx)
    flags = " ".join("DIR" if str(args.models) in a else a for a in sys.argv[1:])
    found = sections_of(args.out)
    for name in args.parts:
        print(f"{name} …", file=sys.stderr, flush=True)
        n, rounds = f"{args.prompts} prompts", ""
        if name in TIMED:
            n = f"{args.lookups} prompts a task" if name == "lookup" else f"{args.timed} prompts"
            rounds = f", medians of {args.rounds} rounds, interleaved"
        head = (f"{datetime.date.today()}, {runs.machine()}, {args.threads} threads, batch 1, {n}"
                f"{rounds}.\nCommand: ./make.sh peers llama.cpp {flags}")
        found[name] = "\n\n".join([head, *PARTS[name](programs, args)])
        print(found[name], flush=True)
        amx = ", built without AMX" if args.no_amx else ""
        title = f"weir beside llama.cpp of llama-cpp-python {VERSION}{amx}"
        args.out.write_text("\n\n".join([title, *(f"## {k}\n{found[k]}" for k in PARTS if k in found)]) +
                            "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
