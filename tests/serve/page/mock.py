"""A server with the routes that the page calls and answers that are known beforehand.

The text of a prompt says what comes back: "html" is text that looks like markup, "many" a long and slow
answer, "odd" characters that are cut between tokens, "refuse" an error, "break" a stream that ends midway.
"""
from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "host/serve/page/index.html"
INFINITE = None
RULES = [  # name, alpha min, max, max_open, default, beta default
    ("exact", INFINITE, INFINITE, False, 0.0, None, "always: speculative decoding, the verifier's own law"),
    ("chow", -1.0, 1.0, False, 0.5, None, "defers iff max q < 1 - alpha"),
    ("opt", INFINITE, INFINITE, False, 0.0, None, "defers iff max q < max p - alpha D_TV(p, q)"),
    ("token-v3", -1.0, 1.0, False, 0.2, None, "token v defers iff p(v) < (1 - alpha) max p"),
    ("lossy", 0.0, 1.0, True, 0.1, 1.0, "accepts min(1, p(x) / ((1 - alpha) q(x)))"),
]
WORDS = ("Wo ist mein Hut ? Er liegt auf dem Tisch , neben der alten Lampe . Gestern war er noch im Flur , "
         "und morgen ist er vielleicht im Garten .").split()
MARKUP = ["<img src=x onerror=\"document.title='broken in'\">", "<b>bold</b>", "<script>",
          "document.title='x'", "</script>", " &amp; ", "<!--", "\n"]
ODD = [("bytes:\\xe4", ""), ("bytes:\\xbd", ""), ("bytes:\\xa0", "你"), (" gut", " gut"), ("\u2581so", " so"),
       ("bytes:\\xf0\\x9f", ""), ("bytes:\\x8e\\xa9", "🎩"), (".", ".")]


def policy() -> str:
    """The page's Content-Security-Policy, and one thing more: with require-trusted-types-for, an engine
    refuses every string that would become markup or script."""
    text = PAGE.read_bytes()

    def digest(tag: bytes) -> str:
        inner = re.search(b"<" + tag + b">(.*?)</" + tag + b">", text, re.S).group(1)
        return "'sha256-" + base64.b64encode(hashlib.sha256(inner).digest()).decode() + "'"

    return (f"default-src 'none'; script-src {digest(b'script')}; style-src {digest(b'style')}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'")


def pieces(prompt: str, seed: int, rule: str, limit: int) -> list[tuple[str, str]]:
    """What the tokens are spelt as, and what they print."""
    if "html" in prompt:
        return [(m, m) for m in MARKUP][:limit]
    if "odd" in prompt:
        return ODD[:limit]
    draw = random.Random(seed)
    n = 400 if "many" in prompt else 40
    out = []
    for i in range(min(n, limit)):
        word = draw.choice(WORDS)
        if i == 9 and rule != "exact":
            word = "anders"
        text = word if i == 0 or word in ".,?" else " " + word
        out.append((text, text))
    return out


def blocks(tokens: list[tuple[str, str]], seed: int, rule: str, gamma: int) -> list[list[dict]]:
    """Tokens as a run under the rule would bring them, a block each."""
    draw = random.Random(seed + 1)
    out: list[list[dict]] = []
    i = 0
    while i < len(tokens):
        drafted = draw.randint(0, gamma)
        block = []
        for k in range(min(drafted + 1, len(tokens) - i)):
            source = ("bonus" if drafted == gamma else "resampled") if k == drafted else \
                "accepted" if rule == "exact" or draw.random() < 0.4 else "kept"
            spelt, text = tokens[i + k]
            block.append({"id": 100 + i + k if spelt != " anders" else 999, "piece": spelt, "text": text,
                          "source": source, "p": -draw.random() * 2 - 0.01, "pi": -draw.random()})
        out.append(block)
        i += len(block)
    return out


class Mock(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, key: str | None = None, chat: bool = True, pause: float = 0.02,
                 loads: int = 0, drafts: bool = True, method: str = "speculative") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key, self.chat, self.pause, self.drafts = key, chat, pause, drafts
        self.method = method
        self.loads = loads  # how many times /props says that the server is loading
        self.seen: list[tuple[str, dict]] = []  # paths and bodies of what was posted
        self.sockets: list[socket.socket] = []
        self.left: list[str] = []  # prompts whose client went away
        self.running = self.most = 0  # streams, and the most there were at once
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def process_request(self, request, client_address) -> None:
        self.sockets.append(request)
        super().process_request(request, client_address)

    def die(self) -> None:
        """Gone at once, with the connections that a browser opened beforehand."""
        self.shutdown()
        self.server_close()
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already

    def handle_error(self, request, client_address) -> None:
        """A client that leaves is no error."""


class Handler(BaseHTTPRequestHandler):
    server: Mock
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")  # a mock that is shut down answers nobody
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self.reply(status, json.dumps({"error": error}).encode(), **headers)

    def allowed(self) -> bool:
        if self.server.key and self.headers.get("Authorization") != "Bearer " + self.server.key:
            self.refuse(401, "invalid_api_key", "no key, or a wrong one", WWW_Authenticate="Bearer")
            return False
        return True

    def do_GET(self) -> None:
        if self.path == "/":
            self.reply(200, PAGE.read_bytes(), "text/html; charset=utf-8", Content_Security_Policy=policy(),
                       X_Content_Type_Options="nosniff", Referrer_Policy="no-referrer")
        elif not self.allowed():
            pass
        elif self.path == "/props":
            self.props()
        else:
            self.refuse(404, "not_found", "no such path")

    def props(self) -> None:
        if self.server.loads:
            self.server.loads -= 1
            self.refuse(503, "loading", "the models are being loaded", Retry_After="1")
            return
        rules = [{"name": n, "help": d,
                  "alpha": None if n == "exact" else {"min": lo, "max": hi, "max_open": o, "default": a},
                  "beta": None if b is None else {"min": 0, "max": None, "default": b, "auto": n == "lossy"},
                  "methods": ["speculative"] + ["token-cascade"] * (n == "chow")}
                 for n, lo, hi, o, a, b, d in RULES]
        self.reply(200, json.dumps({
            "model_alias": "demo", "verifier": {"n_params": 60_500_000},
            "drafter": {"n_params": 15_600_000} if self.server.drafts else None, "rules": rules,
            "max_speculative_tokens": 8, "chat_template": "{{ messages }}" if self.server.chat else None,
            "default_generation_settings": {"n_ctx": 512, "params": {
                "method": self.server.method, "temperature": 1.0, "num_speculative_tokens": 5,
                "exact_first": 0, "rule": "token-v3",
                "alpha": 0.2}}}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))
        if not self.allowed():
            return
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        if "refuse" in prompt:
            self.refuse(503, "queue_full", "the queue is full: <b>64</b> requests wait", Retry_After="7")
            return
        with self.server.lock:
            self.server.running += 1
            self.server.most = max(self.server.most, self.server.running)
        try:
            self.stream(body, prompt)
        except (BrokenPipeError, ConnectionResetError):
            self.server.left.append(prompt)
        finally:
            with self.server.lock:
                self.server.running -= 1
        self.close_connection = True

    def event(self, data: object) -> None:
        line = data if isinstance(data, str) else json.dumps(data)
        self.wfile.write(f"data: {line}\n\n".encode())
        self.wfile.flush()

    def stream(self, body: dict, prompt: str) -> None:
        chat = "messages" in body
        rule, gamma = body.get("deferral_rule", "exact"), body.get("num_speculative_tokens", 5)
        limit = body["max_tokens"] if body["max_tokens"] >= 0 else 10 ** 6
        spelt = pieces(prompt, body["seed"], rule, limit)
        run = blocks(spelt, body["seed"], rule, gamma)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        head = {"id": "x-1", "object": "chat.completion.chunk" if chat else "text_completion",
                "model": "demo"}
        if chat:
            role = {"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}
            self.event({**head, "choices": [role]})
        self.wfile.write(b": ping\n\n")
        for i, block in enumerate(run):
            time.sleep(self.server.pause)
            if "break" in prompt and i == 2:
                self.event({"error": {"message": "the weights are gone", "type": "server_error"}})
                self.event("[DONE]")
                return
            self.event({**head, "choices": [self.choice(chat, block)]})
        last = {"index": 0, "finish_reason": "length" if len(spelt) == limit else "stop", "logprobs": None,
                "weir": {"seed": body["seed"], "rule": rule, "alpha": body.get("deferral_alpha"),
                         "gamma": gamma, "ended_by": "eos", "reproducible": True, "lossless": rule == "exact",
                         "ignored": []}}
        last.update({"delta": {}} if chat else {"text": ""})
        self.event({**head, "choices": [last]})
        self.event({**head, "choices": [], **self.figures(run, gamma)})
        self.event("[DONE]")

    @staticmethod
    def choice(chat: bool, block: list[dict]) -> dict:
        text = "".join(t["text"] for t in block)
        out = {"index": 0, "finish_reason": None, "token_ids": [t["id"] for t in block],
               "sources": [t["source"] for t in block], "policy_logprobs": [t["pi"] for t in block]}
        if chat:
            out["delta"] = {"content": text}
            out["logprobs"] = {"content": [{"token": t["piece"], "logprob": t["p"], "bytes": None,
                                            "top_logprobs": []} for t in block]}
        else:
            out["text"] = text
            out["logprobs"] = {"tokens": [t["piece"] for t in block],
                               "token_logprobs": [t["p"] for t in block], "top_logprobs": None,
                               "text_offset": [0] * len(block)}
        return out

    @staticmethod
    def figures(run: list[list[dict]], gamma: int) -> dict:
        flat = [t for block in run for t in block]
        n = {s: sum(t["source"] == s for t in flat) for s in ("kept", "accepted", "resampled", "bonus")}
        rows = max(1, n["kept"] + n["accepted"] + n["resampled"])
        steps = max(1, len(run))
        m = {"mean_acceptance_length": 1 + (n["kept"] + n["accepted"]) / steps, "num_spec_steps": steps,
             "deferral_rate": (n["accepted"] + n["resampled"]) / rows,
             "rejection_rate": n["resampled"] / rows, "verifier_calls": steps, "num_spec_tokens": gamma}
        assert all(math.isfinite(v) for v in m.values())
        return {"usage": {"prompt_tokens": 7, "completion_tokens": len(flat), "total_tokens": 7 + len(flat)},
                "timings": {"predicted_n": len(flat), "predicted_ms": 1000.0, "predicted_per_second": 123.4},
                "metrics": {"speculative_decoding": m}}


if __name__ == "__main__":
    mock = Mock()
    print(mock.url, flush=True)
    threading.Event().wait()
