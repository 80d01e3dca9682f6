"""A running `weir serve` with a small client, and the command line as the oracle of its answers. From the
standard library alone."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
WEIR = os.environ.get("WEIR_PROGRAM", str(ROOT / "build" / "weir"))
# One table of costs for gamma auto in every process, so that answers can be compared (support/costs.h).
COSTS = re.search(r'TEST_COSTS "([^"]+)"', (ROOT / "tests/support/costs.h").read_text(encoding="utf-8"))[1]
os.environ.setdefault("WEIR_COSTS", COSTS)
DEMO = ["-m", str(ROOT / "models/demo/verifier"), "-md", str(ROOT / "models/demo/drafter")]


class Server:
    """Started on a free port; ready once the constructor returns. stop() drains it; kill() does not."""

    def __init__(self, models, *flags, env=None):
        command = [WEIR, "serve", *models, "--port", "0", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **(env or {})})
        self.lines = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = re.search(r"listening on ([^;\s]+)", self._wait_for("listening on ")).group(1)
        place = re.search(r"://(\[?[^]/]+\]?):(\d+)", self.url)  # None: a UNIX socket
        self.host, self.port = (place[1], int(place[2])) if place else (None, None)
        self._wait_for("ready: ")

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.lines.append(None)
            self._news.notify_all()

    def _wait_for(self, text):
        at = 0
        with self._news:
            while True:
                while at == len(self.lines):
                    self._news.wait()
                if self.lines[at] is None:
                    raise RuntimeError("the server ended: " + self.said())
                if text in self.lines[at]:
                    return self.lines[at]
                at += 1

    def said(self):
        return "\n".join(filter(None, self.lines))

    def connect(self, timeout=600):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def socket(self, timeout=600):
        s = socket.create_connection((self.host, self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def get(self, path, headers=None):
        c = self.connect()
        c.request("GET", path, headers=headers or {})
        r = c.getresponse()
        body = r.read()
        c.close()
        return r.status, body

    def post(self, path, body, headers=None):
        """(status, object) of a whole answer."""
        c = self.connect()
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        c.request("POST", path, data, {"Content-Type": "application/json", **(headers or {})})
        r = c.getresponse()
        answer = r.read()
        c.close()
        return r.status, json.loads(answer)

    def stream(self, path, body):
        """The objects of a stream's events, in order."""
        c = self.connect()
        c.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        r = c.getresponse()
        if r.status != 200:
            raise RuntimeError(f"{r.status}: {r.read()!r}")
        done = False
        for line in r:
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                done = True
            else:
                yield json.loads(line[6:])
        c.close()
        if not done:
            raise RuntimeError("the stream ended without [DONE]")

    def metric(self, name):
        """The sum of a metric's samples."""
        status, body = self.get("/metrics")
        assert status == 200, body
        return sum(float(line.split()[-1]) for line in body.decode().splitlines()
                   if line.startswith(("weir:" + name + "{", "weir:" + name + " ")))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_kib(self):
        """Anonymous memory and swap: a leak does not hide in what was swapped out."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            found = dict(re.findall(r"^(RssAnon|VmSwap):\s+(\d+)", f.read(), re.M))
        return int(found.get("RssAnon", 0)) + int(found.get("VmSwap", 0))

    def stop(self):
        """Exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait()
        self._reader.join()
        self.process.stderr.close()
        return status

    def kill(self):
        self.process.kill()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def lines_of(command, models, objects, *flags):
    """What `weir COMMAND` answers to JSON lines."""
    text = "".join(json.dumps(o) + "\n" for o in objects)
    done = subprocess.run([WEIR, command, *models, "-q", "--input", "-", *flags], input=text, text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"weir {command}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def generate(models, objects, *flags):
    return lines_of("generate", models, objects, "-np", "8", *flags)


def wait_until(condition, what, seconds=60):
    """Waits as long as needed; gives up only after `seconds` without it being true."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not so after {seconds} s: {what}")
        time.sleep(0.01)
