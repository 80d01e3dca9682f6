"""Waiting times at weir serve: pages after a disconnect, streams beside a long prompt. Used by figures.py."""

import http.client
import json
import pathlib
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/serve/running"))

from server import DEMO, Server, lines_of  # noqa: E402  pylint: disable=wrong-import-position


def quantile(values, q):
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(q * len(ranked)))]


def post(connection, body):
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    return connection.getresponse()


def usage(connection):
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return [float(line.split()[-1]) for line in text.splitlines() if "kv_cache_usage_perc{" in line]


def after_disconnects(n):
    """Milliseconds from a client's close to the moment when a look at /metrics finds no page in use."""
    out = []
    with Server(DEMO, "--log-disable", "--metrics") as server:
        watcher = server.connect()
        for i in range(n):
            c = http.client.HTTPConnection(server.host, server.port)
            answer = post(c, {"prompt": "It snowed a lot.", "seed": i, "stream": True, "max_tokens": 500,
                              "ignore_eos": True})
            answer.readline()
            answer.close()
            c.close()
            began = time.monotonic()
            while any(usage(watcher)):
                pass
            out.append(1e3 * (time.monotonic() - began))
    return out


class Stream(threading.Thread):
    """A stream whose chunks are timed until `stop`."""
    def __init__(self, server, body):
        super().__init__(daemon=True)
        self.server, self.body, self.times, self.stop = server, body, [], False
        self.start()

    def run(self):
        c = self.server.connect()
        for line in post(c, {**self.body, "stream": True}):
            if self.stop:
                break
            if line.startswith(b"data: {"):
                self.times.append(time.monotonic())
        c.close()

    def gaps(self, begin, end):
        inside = [t for t in self.times if begin <= t <= end]
        return [1e3 * (b - a) for a, b in zip(inside, inside[1:])]


def beside_a_long_prompt(models, n_stream, seconds):
    """Gaps between the chunks of running streams, before and while a prompt of 4,000 tokens is read; and the
    first token of a short prompt that comes after it, against the same one alone."""
    flags = ["--log-disable", "-c", "5120", "-np", str(n_stream + 2), "--spec-draft-n-max", "3"]
    short = {"prompt": "def add(a, b):", "max_tokens": 1, "temperature": 0}

    def wait_short(server):
        began = time.monotonic()
        Stream(server, short).join()
        return time.monotonic() - began

    with Server(models, *flags) as server:
        streams = [Stream(server, {"prompt": "Count from one to a thousand:", "max_tokens": 900,
                                   "ignore_eos": True, "seed": i}) for i in range(n_stream)]
        while any(len(s.times) < 10 for s in streams):
            time.sleep(0.05)
        alone = wait_short(server)
        begin = time.monotonic()
        time.sleep(seconds / 3)
        middle = time.monotonic()
        words = "the quick brown fox jumps over the lazy dog and runs away . " * 400
        long_one = Stream(server, {"prompt": words[: 4000 * 4], "max_tokens": 4})
        behind = wait_short(server)
        time.sleep(max(0.0, seconds - (time.monotonic() - middle)))
        end = time.monotonic()
        before = [g for s in streams for g in s.gaps(begin, middle)]
        beside = [g for s in streams for g in s.gaps(middle, end)]
        still_read = not long_one.times
        for s in [*streams, long_one]:
            s.stop = True
    return before, beside, alone, behind, still_read


def tables(models):
    gone = after_disconnects(50)
    out = ["## Pages back after a disconnect (demo pair)",
           "| median of 50, ms | worst, ms |", "|---|---|",
           f"| {statistics.median(gone):.1f} | {max(gone):.1f} |", ""]
    if not models:
        return out
    before, beside, alone, behind, still_read = beside_a_long_prompt(models, 3, 60)
    return out + [
        "## Three streams beside a prompt of 4,000 tokens (Qwen2.5-Coder 1.5B with 0.5B, γ = 3)",
        "| | median gap, ms | p99, ms |", "|---|---|---|",
        f"| before it came | {statistics.median(before):.0f} | {quantile(before, 0.99):.0f} |",
        f"| while it was read | {statistics.median(beside):.0f} | {quantile(beside, 0.99):.0f} |", "",
        f"A prompt of 5 tokens: first token after {alone:.2f} s without the long one, {behind:.2f} s after it"
        f"{' (which was still being read at the end)' if still_read else ''}.", ""]
