#!/usr/bin/env python3
"""Figures of weir serve: against the command line on the same prompts, with many connections, and against
llama-server if there is one; and waiting times (latency.py).

    figures.py [--llama-server FILE --gguf FILE] [--pair VERIFIER DRAFTER] [--rounds N] [--out FILE.md]

Every comparison is interleaved: a round asks each side once, and medians over the rounds are printed. The
client is build/weir-load, on the same machine, pinned to nothing. Standard library only.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import latency

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIR, LOAD = ROOT / "build/weir", ROOT / "build/weir-load"
DEMO = ["-m", str(ROOT / "models/demo/verifier"), "-md", str(ROOT / "models/demo/drafter")]
PROMPTS = ["Where is my hat?", "It snowed a lot.", "I want to learn Japanese.", "I am tired.",
           "The train was late again, so we walked home through the rain and talked about the summer.",
           "He said that he would come.", "Do you have a pen?", "She reads a book every week."]
PORT = 18090
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


class Server:
    def __init__(self, command, health):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            if self.process.poll() is not None:
                sys.exit(f"ended at once: {' '.join(map(str, command))}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{health}") as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)

    def cpu_seconds(self):
        """Of the process, and of its first thread, which is the server's loop."""
        def of(path):
            with open(path, encoding="ascii") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        pid = self.process.pid
        return of(f"/proc/{pid}/stat"), of(f"/proc/{pid}/task/{pid}/stat")

    def memory_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith(("RssAnon", "VmSwap")))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def bodies(folder, name, common, n=200):
    path = pathlib.Path(folder) / name
    path.write_text("".join(json.dumps({"prompt": PROMPTS[i % len(PROMPTS)], "seed": i, **common}) + "\n"
                            for i in range(n)), encoding="utf-8")
    return path


def load(path, clients, requests, health="/health"):
    done = subprocess.run([LOAD, "127.0.0.1", str(PORT), "/v1/completions", path, str(clients), str(requests),
                           health], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def command_line(tokens, requests):
    """Tokens a second of weir generate -np 16 without its loading: two numbers of prompts, subtracted."""
    def seconds(n):
        lines = "".join(json.dumps({"prompt": PROMPTS[i % len(PROMPTS)], "seed": i}) + "\n" for i in range(n))
        start = time.monotonic()
        subprocess.run([WEIR, "generate", *DEMO, "--jsonl", "-q", "-np", "16", "--ignore-eos", "-n",
                        str(tokens)], input=lines, stdout=subprocess.DEVNULL, text=True, check=True)
        return time.monotonic() - start
    return tokens * (requests - 16) / (seconds(requests) - seconds(16))


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def against_command_line(folder, rounds):
    common = {"max_tokens": 100, "ignore_eos": True}
    whole = bodies(folder, "whole.jsonl", common)
    streamed = bodies(folder, "stream.jsonl", {**common, **STREAM})
    rows = []
    command = [WEIR, "serve", *DEMO, "--port", str(PORT), "-np", "16", "--log-disable"]
    with Server(command, "/health") as server:
        load(whole, 16, 50)
        for _ in range(rounds):
            row = {"cli": command_line(100, 200)}
            for name, path in (("whole", whole), ("stream", streamed)):
                before = server.cpu_seconds()
                got = load(path, 16, 200)
                assert got["failures"] == 0, got
                row[name] = got["tokens_per_second"]
                spent = [1e6 * (b - a) / got["tokens"] for a, b in zip(before, server.cpu_seconds())]
                row[name + "_cpu"], row[name + "_loop"] = spent
                row[name + "_health"] = got["health_ms_p99"]
            rows.append(row)
    ratio = {name: statistics.median(r[name] / r["cli"] for r in rows) for name in ("whole", "stream")}
    return [
        "## 16 clients against weir generate -np 16, the same prompts (demo pair, γ = 5, T = 1, 100 tokens)",
        "| | tokens/s | × weir generate | process CPU, µs a token | of it the loop thread | "
        "/health p99, ms |",
        "|---|---|---|---|---|---|",
        f"| weir generate -np 16 | {median(rows, 'cli'):.0f} | 1 | | | |",
        *[f"| weir serve, {label} | {median(rows, name):.0f} | {ratio[name]:.2f} | "
          f"{median(rows, name + '_cpu'):.0f} | {median(rows, name + '_loop'):.1f} | "
          f"{median(rows, name + '_health'):.2f} |"
          for name, label in (("whole", "whole answers"), ("stream", "streamed"))],
        ""]


def one_at_a_time(folder, rounds):
    """The first token at a client, against the command line's own figure on the same prompts."""
    path = bodies(folder, "one.jsonl", {"max_tokens": 8, **STREAM})
    lines = [{"prompt": PROMPTS[i % len(PROMPTS)], "seed": i, "max_tokens": 8} for i in range(200)]
    rows = []
    command = [WEIR, "serve", *DEMO, "--port", str(PORT), "--log-disable", "--no-cache-prompt"]
    with Server(command, "/health"):
        load(path, 1, 200)
        for _ in range(rounds):
            got = load(path, 1, 200)
            assert got["failures"] == 0, got
            rows.append({"served": got["first_byte_ms_p50"], "health": got["health_ms_p50"],
                         "alone": statistics.median(x["timings"]["first_token_ms"]
                                                    for x in latency.lines_of("generate", DEMO, lines))})
    return ["## One request at a time (demo pair): first token, and /health meanwhile",
            "| weir generate's own figure, ms | at a client of weir serve, ms | /health, ms |",
            "|---|---|---|",
            f"| {median(rows, 'alone'):.2f} | {median(rows, 'served'):.2f} | {median(rows, 'health'):.2f} |",
            ""]


def many_streams(folder):
    path = bodies(folder, "many.jsonl", {"max_tokens": 60, "ignore_eos": True, **STREAM})
    with Server([WEIR, "serve", *DEMO, "--port", str(PORT), "-np", "8", "--log-disable",
                 "--max-num-queued-reqs", "0"], "/health") as server:
        load(path, 8, 50)
        before = server.memory_kib()
        peak = []
        run = subprocess.Popen([LOAD, "127.0.0.1", str(PORT), "/v1/completions", path, "1000", "3000",
                                "/health"], stdout=subprocess.PIPE, text=True)
        while run.poll() is None:
            peak.append(server.memory_kib())
            time.sleep(0.05)
        got = json.loads(run.stdout.read())
    return ["## 1,000 open streams, 8 of them running",
            "| failures | /health p99, ms | memory a connection, KiB |", "|---|---|---|",
            f"| {got['failures']} | {got['health_ms_p99']:.2f} | {(max(peak) - before) / 1000:.1f} |", ""]


def against_llama(folder, args):
    common = {"max_tokens": 32, "temperature": 0, "ignore_eos": True}
    path = bodies(folder, "llama.jsonl", common)
    sides = {"weir serve": [WEIR, "serve", "-m", args.gguf, "--port", str(PORT), "-np", "8", "-t", "2", "-c",
                            "512", "--log-disable", "--max-num-queued-reqs", "0"],
             "llama-server": [args.llama_server, "-m", args.gguf, "--port", str(PORT), "-np", "8", "-t", "2",
                              "-c", "4096", "--no-webui", "--log-disable", "--poll", "0"]}
    out = [f"## llama-server on the same GGUF ({pathlib.Path(args.gguf).name}), 8 slots, 2 threads",
           "| connections | weir serve, tokens/s | llama-server, tokens/s | ratio | failures of each |",
           "|---|---|---|---|---|"]
    for clients, requests in ((8, 64), (64, 128), (1000, 1000)):
        rows = {name: [] for name in sides}
        for _ in range(args.rounds if clients < 1000 else 1):
            for name, command in sides.items():
                with Server(command, "/health"):
                    load(path, 8, 8)
                    rows[name].append(load(path, clients, requests))
        speed = {name: median(r, "tokens_per_second") for name, r in rows.items()}
        failures = ", ".join(str(sum(x["failures"] for x in r)) for r in rows.values())
        out.append(f"| {clients} | {speed['weir serve']:.1f} | {speed['llama-server']:.1f} | "
                   f"{speed['weir serve'] / speed['llama-server']:.2f} | {failures} |")
    return out + [""]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--llama-server")
    p.add_argument("--gguf")
    p.add_argument("--pair", nargs=2, help="GGUF files for the streams beside a long prompt")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--out")
    args = p.parse_args()
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    machine = f"{time.strftime('%Y-%m-%d')}, {cpu}, {os.cpu_count()} cores, {platform.system()}"
    models = ["-m", args.pair[0], "-md", args.pair[1]] if args.pair else None
    lines = ["# weir serve", f"{machine}. `bench/serve/figures.py --rounds {args.rounds}`; medians.", ""]
    with tempfile.TemporaryDirectory() as folder:
        for part in (lambda: against_command_line(folder, args.rounds),
                     lambda: one_at_a_time(folder, args.rounds), lambda: many_streams(folder),
                     lambda: latency.tables(models),
                     lambda: against_llama(folder, args) if args.llama_server else []):
            got = part()
            print("\n".join(got), flush=True)
            lines += got
    if args.out:
        pathlib.Path(args.out).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
