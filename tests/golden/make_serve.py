#!/usr/bin/env python3
"""Golden transcripts of the server's answers, for tests/serve/api/test_transcripts.c.

    python3 tests/golden/make_serve.py      (no packages)

Writes tests/golden/serve/answers.jsonl. A line is what was asked, what an engine brings, and the JSON objects
that a client then reads, in order:
    {"name", "ask": {…}, "events": [{"prompt"| "tokens" | "end": choice, …}], "want": [object, …]}
The objects are made here anew, from OpenAI's reference and the field names of vLLM and llama.cpp: no
code is shared with the server. Token b is byte b, 256 is " word", 258 the control token "<end>". A null
log-probability is unknown, "-inf" minus infinity. Reals have nine digits, like the engine's.
"""
import json
import pathlib
import random
import struct

HERE = pathlib.Path(__file__).resolve().parent / "serve"
END = 258
SOURCES = ["kept", "accepted", "resampled", "bonus", "drafter", "verifier"]
ROOT = {"id": "cmpl-1", "created": 1, "model": "demo", "system_fingerprint": "weir-0.1.0-0123-4567"}


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def nine(x):
    return float(f"{x:.9g}")


def seven(x):
    return float(f"{x:.7g}")


def token_bytes(i):
    return bytes([i]) if i < 256 else b" word" if i == 256 else b"<end>"


def spelling(i):
    raw = token_bytes(i)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(chr(c) if 32 <= c < 127 and c != 92 else f"\\x{c:02x}" for c in raw)


def log(x):
    return None if x is None else -9999.0 if x == "-inf" else nine(x)


# ---- what an engine brings ---------------------------------------------------------------------------------

class Engine:
    """Makes events from texts: bytes as tokens, a character printable with its last byte."""

    def __init__(self, seed):
        self.draw = random.Random(seed)

    def log(self):
        return f32(-self.draw.random() * self.draw.choice([0.001, 1, 20]))

    def tops(self, i, n):
        ids = [i] + [self.draw.choice([32, 97, 256, 228, 195]) for _ in range(n)]
        ids = list(dict.fromkeys(ids))
        self.draw.shuffle(ids)
        values = sorted((self.log() for _ in ids), reverse=True)
        pairs = list(zip(ids, values))
        return pairs[:n], dict(pairs)[i]

    def tokens(self, text, n_top=0):
        out, begun = [], b""
        raw = text.encode()
        for at, b in enumerate(raw):
            begun += bytes([b])
            whole = at + 1 == len(raw) or raw[at + 1] & 0xC0 != 0x80
            top, value = self.tops(b, n_top)
            out.append({"id": b, "source": self.draw.choice(SOURCES), "logprob": value, "policy": self.log(),
                        "text": begun.decode() if whole else "", "top": top})
            if whole:
                begun = b""
        return out

    def end(self, choice, n, ended="eos", n_top=0, **more):
        blocks, kept = (n + 2) // 3, n // 2
        top, value = self.tops(END, n_top)
        finish = {"eos": "stop", "stop": "stop", "cancelled": "cancelled"}.get(ended, "length")
        stats = {"n_prompt": 2, "n_output": n, "blocks": blocks, "drafted": 5 * blocks,
                 "accepted": n - n // 4, "kept": kept, "resampled": n // 4,
                 "rows_examined": n, "rows_deferred": n // 3,
                 "reject_mass": n * 0.125, "verifier_calls": blocks, "verifier_rows": 6 * blocks,
                 "drafter_calls": 5 * blocks, "drafter_rows": 5 * blocks,
                 "seconds_prefill": 0.25, "seconds_draft": 0.1, "seconds_verify": 0.2, "seconds_accept": 0.05,
                 "seconds_total": 0.25 + 0.3 * blocks, "seconds_first": 0.5 + choice}
        return {"end": choice, "finish": finish, "ended_by": ended, "stop": -1,
                "eos": END if ended == "eos" else -1, "logprob": value, "policy": self.log(), "top": top,
                "deadline": False, "queue": 0.125, "cached": 1, "stats": stats} | more


# ---- what a client reads -----------------------------------------------------------------------------------

class Choice:
    def __init__(self):
        self.chars, self.begun, self.pending = 0, False, []  # pending: (text, entry or None, token or None)


class Answer:
    def __init__(self, ask, events):
        self.ask, self.events = ask, events
        self.n = ask["n"]
        self.choices = [Choice() for _ in range(self.n)]
        self.completion, self.ended, self.sent, self.whole = 0, [], [], {}

    def root(self):
        kind = "text_completion"
        if self.ask["chat"]:
            kind = "chat.completion.chunk" if self.ask["stream"] else "chat.completion"
        return ROOT | {"object": kind}

    def chat_entry(self, i, value):
        return {"token": spelling(i), "logprob": log(value), "bytes": list(token_bytes(i))}

    def entry(self, offset, i, value, top):
        if self.ask["chat"]:
            return self.chat_entry(i, value) | {"top_logprobs": [self.chat_entry(*t) for t in top]}
        likely = None
        if value is not None:
            likely = {}
            for k, v in top + [[i, value]]:
                likely.setdefault(spelling(k), log(v))
        return spelling(i), log(value), likely, offset

    def token(self, c, t, source):
        offset = c.chars
        c.chars += len(t["text"])
        self.completion += 1
        c.pending.append((t["text"], self.entry(offset, t["id"], t["logprob"], t["top"]),
                          (t["id"], source, log(t["policy"]))))

    def prompt(self, c, e):
        ids = [72, 105]
        text = bytes(ids).decode()
        for at, i in enumerate(ids):
            value = e["scores"][at - 1] if at and e["scores"] else None
            top = e["top"][at - 1] if at and e["scores"] and e["top"] else []
            c.pending.append((text[at], self.entry(c.chars, i, value, top), None))
            c.chars += 1

    def parts(self, c):
        """Text and the fields beside it of what is pending."""
        ask, out = self.ask, {"logprobs": None}
        entries = [p[1] for p in c.pending]
        tokens = [p[2] for p in c.pending if p[2]]
        if ask["logprobs"] and (entries or not ask["stream"]):
            if ask["chat"]:
                out["logprobs"] = {"content": entries, "refusal": None}
            else:
                names = ["tokens", "token_logprobs", "top_logprobs", "text_offset"]
                out["logprobs"] = {name: [e[k] for e in entries] for k, name in enumerate(names)}
        if ask["token_ids"]:
            out["token_ids"] = [t[0] for t in tokens]
        if ask["sources"]:
            out["sources"] = [t[1] for t in tokens]
            out["policy_logprobs"] = [t[2] for t in tokens]
        return "".join(p[0] for p in c.pending), out

    def send(self, index, fields, last=False):
        chunk = self.root() | {"choices": [{"index": index} | fields]}
        if self.ask["usage"]:
            chunk["usage"] = None
            if self.ask["running_usage"]:
                chunk["usage"] = {"prompt_tokens": 2, "completion_tokens": self.completion,
                                  "total_tokens": 2 + self.completion}
        if last:
            chunk |= self.figures()
        self.sent.append(chunk)

    def role(self, index):
        c = self.choices[index]
        if self.ask["chat"] and not c.begun:
            self.send(index, {"delta": {"role": "assistant", "content": ""}, "logprobs": None,
                              "finish_reason": None})
        c.begun = True

    def flush(self, index):
        c = self.choices[index]
        text, beside = self.parts(c)
        asked = self.ask["logprobs"] or self.ask["token_ids"] or self.ask["sources"]
        if not text and not (asked and c.pending):
            return
        self.role(index)
        body = {"delta": {"content": text}} if self.ask["chat"] else {"text": text}
        self.send(index, body | beside | {"finish_reason": None})
        c.pending = []

    def tail(self, e):
        o = self.ask
        timed = e["deadline"]
        stopped = e["ended_by"] == "stop" and e["stop"] >= 0
        return {"finish_reason": "length" if timed else "stop" if e["finish"] == "stop" else "length",
                "stop_reason": o["stop"][e["stop"]] if stopped else None,
                "weir": {"seed": o["seed"], "rule": o["rule"],
                         "alpha": seven(o["alpha"]) if o["alpha"] else None, "beta": None, "gamma": 5,
                         "ended_by": "deadline" if timed else e["ended_by"],
                         "reproducible": True, "lossless": o["rule"] == "exact", "ignored": o["ignored"]}}

    def figures(self):
        ends = [e["stats"] for e in self.ended]

        def total(key):
            return sum(s[key] for s in ends)

        seconds = total("seconds_total") - total("seconds_prefill")
        prompt = 1e3 * total("seconds_prefill")
        out = {"timings": {
            "prompt_n": total("n_prompt"), "prompt_ms": nine(prompt),
            "prompt_per_second": nine(total("n_prompt") / total("seconds_prefill")),
            "predicted_n": self.completion, "predicted_ms": nine(1e3 * seconds),
            "predicted_per_second": nine(self.completion / seconds) if seconds > 0 else None,
            "draft_n": total("drafted"), "draft_n_accepted": total("accepted"),
            "draft_ms": nine(1e3 * total("seconds_draft")), "verify_ms": nine(1e3 * total("seconds_verify")),
            "accept_ms": nine(1e3 * total("seconds_accept")),
            "first_token_ms": nine(1e3 * min(s["seconds_first"] for s in ends))}}
        if self.n == 1:
            out["metrics"] = self.metrics(self.ended[0])
        return out

    def metrics(self, e):
        s = e["stats"]
        out = {"queue_time_ms": nine(1e3 * e["queue"]),
               "time_to_first_token_ms": nine(1e3 * (e["queue"] + s["seconds_first"]))}
        if s["blocks"] > 0:
            rows = s["rows_examined"]
            out["speculative_decoding"] = {
                "mean_acceptance_length": nine(1 + s["accepted"] / s["blocks"]),
                "draft_acceptance_rate": nine(s["accepted"] / s["drafted"]),
                "acceptance_histogram": [0] * 6, "num_spec_steps": s["blocks"],
                "num_accepted_draft_tokens": s["accepted"], "num_draft_tokens": s["drafted"],
                "num_spec_tokens": 5, "rejection_rate": nine(s["reject_mass"] / rows),
                "deferral_rate": nine(s["rows_deferred"] / rows), "examined_rows": rows,
                "deferred_rows": s["rows_deferred"], "verifier_calls": s["verifier_calls"],
                "verifier_rows": s["verifier_rows"], "drafter_calls": s["drafter_calls"],
                "drafter_rows": s["drafter_rows"], "kept_tokens": s["kept"],
                "accepted_tokens": s["n_output"] - s["kept"] - s["resampled"],
                "resampled_tokens": s["resampled"], "bonus_tokens": 0, "drafter_tokens": 0,
                "verifier_tokens": 0, "lossless": self.ask["rule"] == "exact"}
        return out

    def usage(self):
        appeared = sum(e["stats"]["n_output"] - e["stats"]["resampled"] for e in self.ended)
        return {"prompt_tokens": 2, "completion_tokens": self.completion, "total_tokens": 2 + self.completion,
                "completion_tokens_details": {
                    "accepted_prediction_tokens": appeared,
                    "rejected_prediction_tokens": sum(e["stats"]["drafted"] for e in self.ended) - appeared},
                "prompt_tokens_details": {
                    "cached_tokens": next(e["cached"] for e in self.ended if e["end"] == 0)}}

    def end(self, e):
        index = e["end"]
        if e["eos"] >= 0:
            self.token(self.choices[index], {"id": e["eos"], "logprob": e["logprob"], "policy": e["policy"],
                                             "text": "", "top": e["top"]}, None)
        self.ended.append(e)
        if not self.ask["stream"]:
            text, beside = self.parts(self.choices[index])
            body = {"text": text}
            if self.ask["chat"]:
                body = {"message": {"role": "assistant", "content": text, "refusal": None}}
            self.whole[index] = {"index": index} | body | beside | self.tail(e)
            return
        self.flush(index)
        self.role(index)
        last = len(self.ended) == self.n and not self.ask["usage"]
        body = {"delta": {}} if self.ask["chat"] else {"text": ""}
        self.send(index, body | {"logprobs": None} | self.tail(e), last)

    def read(self):
        for e in self.events:
            if "prompt" in e:
                self.prompt(self.choices[e["prompt"]], e)
            elif "tokens" in e:
                for t in e["list"]:
                    self.token(self.choices[e["tokens"]], t, t["source"])
                if self.ask["stream"]:
                    self.flush(e["tokens"])
            else:
                self.end(e)
        if not self.ask["stream"]:
            choices = [self.whole[i] for i in range(self.n)]
            return [self.root() | {"choices": choices, "usage": self.usage()} | self.figures()]
        if self.ask["usage"]:
            self.sent.append(self.root() | {"choices": [], "usage": self.usage()} | self.figures())
        return self.sent


# ---- cases -------------------------------------------------------------------------------------------------

ASK = {"chat": False, "stream": False, "usage": False, "running_usage": False, "echo": False,
       "logprobs": False, "token_ids": False, "sources": False, "n_top": 0, "n": 1, "seed": 7,
       "rule": "exact", "alpha": None, "stop": [], "ignored": []}
EVERYTHING = {"logprobs": True, "token_ids": True, "sources": True, "n_top": 2, "rule": "opt", "alpha": 0.3,
              "ignored": ["user"]}
TEXTS = ["Wo ist \u00fc\u20ac?", "\"\\\n", "\U0001f600 yes", ""]


def blocks(engine, choice, text, n_top, size=3):
    tokens = engine.tokens(text, n_top)
    return [{"tokens": choice, "list": tokens[i:i + size]} for i in range(0, len(tokens), size)]


def in_turns(lists):
    out, lists = [], [list(x) for x in lists]
    while any(lists):
        for x in lists:
            if x:
                out.append(x.pop(0))
    return out


def case(name, seed, ask=None, ends=None, texts=None):
    ask = ASK | (ask or {})
    engine, runs = Engine(seed), []
    for i in range(ask["n"]):
        text = (texts or TEXTS)[i % len(TEXTS)]
        n = len(text.encode())
        run = blocks(engine, i, text, ask["n_top"])
        if ask["echo"]:
            top, value = engine.tops(105, ask["n_top"])
            scored = ask["logprobs"]
            run.insert(0, {"prompt": i, "scores": [value] if scored else [], "top": [top] if scored else []})
        run.append(engine.end(i, n, n_top=ask["n_top"], **((ends or {}).get(i, {}))))
        runs.append(run)
    events = in_turns(runs)
    return {"name": name, "ask": ask, "events": events, "want": Answer(ask, events).read()}


def unknown(c):
    """The same case where the verifier never looked at the first token and excluded the second."""
    first = c["events"][0]["list"]
    first[0] |= {"logprob": None, "policy": None, "top": []}
    first[1]["logprob"] = "-inf"
    return c | {"want": Answer(c["ask"], c["events"]).read()}


CASES = [
    case("completion", 1),
    case("completion with everything", 2, EVERYTHING),
    case("completion streamed", 3, {"stream": True}),
    case("completion streamed with everything", 4, EVERYTHING | {"stream": True, "usage": True}),
    case("chat", 5, {"chat": True}, {0: {"ended": "limit"}}),
    case("chat streamed", 6, {"chat": True, "stream": True, "usage": True, "running_usage": True}),
    case("chat streamed with everything, four choices", 7,
         EVERYTHING | {"chat": True, "stream": True, "n": 4, "stop": ["###", "END"]},
         {1: {"ended": "stop", "stop": 1}, 2: {"ended": "cancelled", "deadline": True}}),
    case("four choices", 8, {"n": 4, "token_ids": True}, {1: {"ended": "context"}}),
    case("echo", 9, {"echo": True, "logprobs": True, "n_top": 1}, {0: {"ended": "limit"}}, ["y"]),
    case("echo streamed, nothing written", 10, {"echo": True, "stream": True}, {0: {"ended": "limit"}}, [""]),
    unknown(case("unknown values", 11, EVERYTHING)),
    case("nothing written", 12, EVERYTHING | {"chat": True}, {0: {"ended": "limit"}}, [""]),
]


def main():
    HERE.mkdir(exist_ok=True)
    with open(HERE / "answers.jsonl", "w", encoding="ascii") as f:
        for c in CASES:
            f.write(json.dumps(c, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
