#!/usr/bin/env python3
"""A server under mixed load for a while: no failure, and memory that stops growing.

usage: soak.py SECONDS. The first third is for caches to fill; after it anonymous memory and swap may grow by
1 MiB, or by 8 MiB in runs of less than ten minutes, whose caches may still fill.
"""

import itertools
import json
import random
import sys
import threading
import time

from same_tokens import PROMPTS, drop, requests
from server import DEMO, Server


def client(server, asked, until, failed, counts, seed):
    r = random.Random(seed)
    while time.monotonic() < until and not failed:
        one = r.choice(asked)
        try:
            if r.random() < 0.1:
                drop(server, one, r)
            elif r.random() < 0.5:
                chunks = list(server.stream("/v1/completions", one))
                assert chunks[-1]["choices"] or chunks[-1]["usage"], chunks[-1]
            elif r.random() < 0.1:
                status, answer = server.post("/v1/completions", {**one, "max_tokens": -7})
                assert status == 400, answer
            else:
                status, answer = server.post("/v1/completions", one)
                assert status == 200, answer
            counts[0] += 1
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    asked = requests(500, 11, PROMPTS)
    failed, counts = [], [0]
    with Server(DEMO, "--log-disable", "--metrics") as server:
        start = time.monotonic()
        threads = [threading.Thread(target=client, args=(server, asked, start + seconds, failed, counts, i))
                   for i in range(24)]
        for t in threads:
            t.start()
        base = None
        for i in itertools.count():
            if not any(t.is_alive() for t in threads):
                break
            time.sleep(1)
            if base is None and time.monotonic() - start > seconds / 3:
                base = server.memory_kib()
            if i % 30 == 0:
                print(f"{time.monotonic() - start:.0f} s: {counts[0]} requests, {server.memory_kib()} KiB",
                      flush=True)
        if failed:
            raise failed[0]
        grown = server.memory_kib() - base
        most = 1024 if seconds >= 600 else 8192
        print(json.dumps({"seconds": seconds, "requests": counts[0], "grown_kib": grown, "most_kib": most}))
        assert grown < most, "memory grows"
        assert server.stop() == 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
