#!/usr/bin/env python3
"""Answers of a busy server are those of the command line, one by one: ids, sources and text.

Requests of mixed rules, methods, seeds, temperatures and lengths, in random order, at several numbers of
clients, half of them streamed, some dropped midway; with so little memory for keys and values that requests
are suspended, with slices of one unit, with the prefix cache and without. The demo pair is an
encoder-decoder; a decoder-only pair gets prompts that begin alike.
"""

import argparse
import json
import pathlib
import queue
import random
import sys
import tempfile
import threading

import made_pair
from server import DEMO, ROOT, Server, lines_of

PROMPTS = ["Where is my hat?", "It snowed a lot.", "I want to learn Japanese.", "I am tired.",
           "The train was late again, so we walked home through the rain and talked about the summer.",
           "He said that he would come.", "Do you have a pen?", "She reads a book every week.",
           "This is the house that my grandfather built when he came back from the sea."]
RULES = [("exact", None), ("chow", 0.3), ("diff", 0.1), ("opt", 0.2), ("token-v1", 0.1), ("token-v2", 0.48),
         ("token-v3", 0.5), ("lossy", 0.3), ("typical", 0.3), ("ensemble", 0.5), ("fuzzy", 0.2)]


def long_prompts():
    """Of up to 250 tokens or so; each begins like some of the others."""
    words = " ".join(PROMPTS).split()
    return [" ".join(words[:n] + words[n + k:n + k + 3]) for n in (0, 8, 20, 35, 50) for k in (0, 1, 2)]


def requests(n, seed, prompts):
    r = random.Random(seed)
    out = []
    for _ in range(n):
        rule, alpha = r.choice(RULES)
        one = {"prompt": r.choice(prompts), "seed": r.randrange(1 << 40), "max_tokens": r.randint(1, 96),
               "temperature": r.choice([0, 0.7, 1.0, 1.3]), "top_p": r.choice([1.0, 0.9]),
               "top_k": r.choice([0, 0, 20])}
        kind = r.random()
        if kind < 0.1:
            one["method"] = "verifier"
        elif kind < 0.15:
            one["method"] = "drafter"
        else:
            one["deferral_rule"] = rule
            if alpha is not None:
                one["deferral_alpha"] = alpha
            one["num_speculative_tokens"] = r.randint(1, 8)
        if r.random() < 0.2:
            one["stop"] = [r.choice(["ich", ".", "die "])]
        out.append(one)
    return out


def expected(models, asked):
    """What weir generate answers, of which a method is an option and no field of a line."""
    out = [None] * len(asked)
    for method in ("speculative", "verifier", "drafter"):
        at = [i for i, one in enumerate(asked) if one.get("method", "speculative") == method]
        lines = [{k: v for k, v in asked[i].items() if k != "method"} for i in at]
        for i, answer in zip(at, lines_of("generate", models, lines, "--method", method), strict=True):
            out[i] = answer
    return out


def whole(server, one):
    status, answer = server.post("/v1/completions", one)
    assert status == 200, answer
    c = answer["choices"][0]
    return c["token_ids"], c["sources"], c["text"], c["finish_reason"], answer["usage"]


def streamed(server, one):
    ids, sources, text, finish, usage = [], [], "", None, None
    for chunk in server.stream("/v1/completions", {**one, "stream_options": {"include_usage": True}}):
        assert "error" not in chunk, chunk
        usage = chunk.get("usage") or usage
        for c in chunk["choices"]:
            ids += c.get("token_ids") or []
            sources += c.get("sources") or []
            text += c["text"]
            finish = c["finish_reason"] or finish
    return ids, sources, text, finish, usage


def drop(server, one, r):
    """A client that leaves: at once, or after some bytes of its answer."""
    s = server.socket()
    body = json.dumps({**one, "stream": True}).encode()
    s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n" % len(body) + body)
    if r.random() < 0.7:
        s.recv(r.randint(1, 4000))
    s.close()


def check(one, want, got):
    ids, sources, text, finish, usage = got
    if sources and sources[-1] is None:  # end-of-text, which the command line does not list
        ids, sources = ids[:-1], sources[:-1]
    same = (ids, sources, text, finish) == (want["token_ids"], want["sources"], want["text"],
                                            want["finish_reason"])
    counted = usage["completion_tokens"] - len(ids) in (0, 1)
    if not same or not counted:
        raise AssertionError(f"asked {one}\n wanted {want['token_ids']} {want['finish_reason']} "
                             f"{want['text']!r}\n    got {ids} {finish} {text!r} {usage}")


def client(server, work, failed, drops, seed):
    r = random.Random(seed)
    while True:
        try:
            one, want = work.get_nowait()
        except queue.Empty:
            return
        try:
            asked = {**one, "return_token_ids": True, "return_sources": True}
            if r.random() < drops:
                drop(server, asked, r)
            check(one, want, (streamed if r.random() < 0.5 else whole)(server, asked))
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)
            return


def run(server, pairs, clients, drops, seed):
    r = random.Random(seed)
    pairs = list(pairs)
    r.shuffle(pairs)
    work, failed = queue.Queue(), []
    for pair in pairs:
        work.put(pair)
    threads = [threading.Thread(target=client, args=(server, work, failed, drops, r.random()))
               for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def settings(kv_mib):
    return {
        "as it comes": [],
        "little memory": ["--parallel", "16", "--kv-size-mib", str(kv_mib)],
        "slices of one unit": ["--prefill-stall-ms", "1"],
        "no prefix cache": ["--no-cache-prompt"],
    }


def serve(models, name, flags, pairs, counts, a):
    """Answers of a server with these flags, at several numbers of clients."""
    with Server(models, "--log-disable", "--metrics", *flags) as server:
        for clients in counts:
            some = pairs if clients > 1 else pairs[: max(1, len(pairs) // 4)]
            run(server, some, clients, a.drops, a.seed + clients)
            print(f"{name}, {clients} clients: {len(some)} answers as those of weir generate", flush=True)
        asked, found = (server.metric(f"prefix_cache_{what}_total") for what in ("queries", "hits"))
        print(f"  suspended {server.metric('num_preemptions_total'):.0f} times; "
              f"{found:.0f} of {asked:.0f} prompt tokens from the prefix cache", flush=True)
        assert (found > 0) == ("--no-cache-prompt" not in flags), "prefix cache"
        assert server.stop() == 0, "exit status after SIGTERM"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--requests", type=int, default=2000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--drops", type=float, default=0.1)
    a = p.parse_args()
    asked = requests(a.requests, a.seed, PROMPTS)
    pairs = list(zip(asked, expected(DEMO, asked)))
    half = pairs[: max(1, len(pairs) // 2)]
    for name, flags in settings(3).items():
        serve(DEMO, name, flags, half if flags else pairs, [64] if flags else [1, 7, 64], a)
    with tempfile.TemporaryDirectory() as folder:
        verifier, drafter = made_pair.write(ROOT, pathlib.Path(folder))
        models = ["-m", str(verifier), "-md", str(drafter), "-c", "512"]
        asked = requests(max(1, a.requests // 2), a.seed, long_prompts())
        pairs = list(zip(asked, expected(models, asked)))
        for name, flags in settings(1).items():
            serve(models, f"decoder-only, {name}", flags, pairs, [64], a)
    return 0


if __name__ == "__main__":
    sys.exit(main())
