#!/usr/bin/env python3
"""What goes wrong around a server: a fault hurts the one request it belongs to, and leaves nothing behind."""

import json
import os
import random
import resource
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

from server import DEMO, Server, wait_until

BODY = {"prompt": "Where is my hat?", "max_tokens": 24, "seed": 5, "temperature": 0}
LONG = {"prompt": "It snowed a lot.", "max_tokens": 400, "ignore_eos": True, "seed": 5}


def raw(body, path="/v1/completions"):
    data = json.dumps(body).encode()
    return (b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)


def answers(server, want):
    status, answer = server.post("/v1/completions", BODY)
    assert status == 200 and answer["choices"][0]["text"] == want, answer


def idle(server):
    """Nothing runs, nothing waits."""
    return server.metric("num_requests_running") + server.metric("num_requests_waiting") == 0


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def leave(server, r, how):
    s = server.socket()
    body = raw({**LONG, "stream": r.random() < 0.7, "seed": r.randrange(1000)})
    if how == "half a head":
        s.sendall(body[: r.randrange(1, 60)])
    elif how == "half a body":
        s.sendall(body[:-r.randrange(1, 40)])
    else:
        s.sendall(body)
        if r.random() < 0.5:
            s.settimeout(30)
            s.recv(r.randrange(1, 2000))
    if how == "half-close":
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):
            pass
        s.close()
    elif how == "reset":
        reset(s)
    else:
        s.close()


def disconnects(server, n, want):
    r = random.Random(3)
    before = server.descriptors()
    ways = ["half a head", "half a body", "close", "reset", "half-close"]
    left = [n]
    lock = threading.Lock()

    def some():
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
                how = r.choice(ways)
            leave(server, r, how)

    threads = [threading.Thread(target=some) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_until(lambda: idle(server), "no request is left after its client has gone")
    wait_until(lambda: server.descriptors() <= before + 2, "descriptors as before")
    answers(server, want)
    print(f"{n} clients that left: nothing remains of them", flush=True)


def bad_bodies(server, want):
    for body in [b"", b"{", b"[]", b"null", b'{"prompt": 7}', b'{"prompt": "a", "seed": 1e99}', b"\xff\xfe",
                 b"{" * 100000, b"[" * 100000, b'"' + b"a" * 100000, b'{"prompt": "a", "prompt": "b"}',
                 json.dumps({"prompt": "a b " * 100000}).encode(), b'{"prompt": [1e9]}', b'{"prompt": [-1]}']:
        status, answer = server.post("/v1/completions", body)
        assert status == 400 and answer["error"]["message"] and answer["error"]["code"], (body[:40], answer)
    answers(server, want)
    print("bad bodies: 400 each", flush=True)


def slow_reader(server, want):
    """One that takes nothing holds no slot."""
    sockets = []
    for _ in range(64):
        s = server.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(raw({**LONG, "stream": True}))
        sockets.append(s)
    answers(server, want)
    wait_until(lambda: idle(server), "answers to slow readers end")
    for s in sockets:
        s.close()
    print("64 readers that read nothing: others are answered", flush=True)


def shutdown_under_load(want):
    with Server(DEMO, "--log-disable", "--metrics") as server:
        results = []

        def ask():
            try:
                results.append(server.post("/v1/completions", {**BODY, "max_tokens": 200}))
            except OSError as error:
                results.append(error)

        threads = [threading.Thread(target=ask) for _ in range(24)]
        for t in threads:
            t.start()
        time.sleep(0.05)
        assert server.stop() == 0
        for t in threads:
            t.join()
        for one in results:
            refused = isinstance(one, OSError) or one[0] == 503
            assert refused or (one[0] == 200 and one[1]["choices"][0]["text"].startswith(want[:5])), one
    print("SIGTERM under load: whole answers or 503, exit status 0", flush=True)


def second_signal():
    with Server(DEMO, "--log-disable", "--shutdown-timeout", "600") as server:
        s = server.socket()
        s.sendall(raw({**LONG, "n": 8, "max_tokens": 480, "stream": True}))
        s.recv(10)
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: server_refuses(server), "no new connections while it drains")
        server.process.send_signal(signal.SIGINT)
        server.process.wait()
    print("a second signal ends it", flush=True)


def server_refuses(server):
    try:
        return server.get("/health")[0] == 503
    except OSError:
        return True


def full_disk(want):
    with Server(DEMO, "--log-file", "/dev/full") as server:
        for _ in range(20):
            answers(server, want)
        assert server.stop() == 0
    print("a log on a full disk: answers as ever", flush=True)


def few_descriptors(want):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        server = Server(DEMO, "--log-disable")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with server:
        sockets = [server.socket() for _ in range(120)]
        time.sleep(0.3)
        for s in sockets:
            s.close()
        wait_until(lambda: server.descriptors() < 40, "descriptors come free")
        answers(server, want)
        assert server.stop() == 0
    print("descriptors used up: it goes on once some come free", flush=True)


def killed(want):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        server = Server(DEMO, "--log-file", path)
        answers(server, want)
        port = server.port
        server.kill()
        with Server(DEMO, "--log-file", path, "--port", str(port)) as again:
            answers(again, want)
    print("killed and started again on the same port", flush=True)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with Server(DEMO, "--log-disable", "--metrics") as server:
        want = server.post("/v1/completions", BODY)[1]["choices"][0]["text"]
        bad_bodies(server, want)
        disconnects(server, n, want)
        slow_reader(server, want)
        assert server.stop() == 0
    shutdown_under_load(want)
    second_signal()
    full_disk(want)
    few_descriptors(want)
    killed(want)
    return 0


if __name__ == "__main__":
    sys.exit(main())
