"""curl, and Prometheus' own parser: what is on the wire."""
import json
import tempfile
import unittest
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fixture import ServerTest, run
from server import DEMO, Server

ASK = {"model": "demo", "prompt": "Where is my hat?", "max_tokens": 40, "seed": 7}


class Curl(ServerTest):
    FLAGS = [*ServerTest.FLAGS, "--slots"]

    def curl(self, path, *flags, body=None):
        data = ["-H", "Content-Type: application/json", "-d", json.dumps(body)] if body else []
        return run(["curl", "-sS", *flags, *data, self.url + path])

    def test_a_stream_comes_as_events(self):
        text = self.curl("/v1/completions", "-N", body={**ASK, "stream": True})
        events = text.split("\n\n")
        self.assertEqual(events[-2:], ["data: [DONE]", ""])
        chunks = [json.loads(e.removeprefix("data: ")) for e in events[:-2]]
        self.assertTrue(all(e.startswith("data: {") and "\n" not in e for e in events[:-2]))
        whole = json.loads(self.curl("/v1/completions", body=ASK))
        self.assertEqual("".join(c["choices"][0]["text"] for c in chunks if c["choices"]),
                         whole["choices"][0]["text"])

    def test_http_1_0(self):
        whole = json.loads(self.curl("/v1/completions", body=ASK))
        text = self.curl("/v1/completions", "-N", "--http1.0", body={**ASK, "stream": True})
        self.assertTrue(text.endswith("data: [DONE]\n\n"))
        chunks = [json.loads(e.removeprefix("data: ")) for e in text.split("\n\n")[:-2]]
        self.assertEqual("".join(c["choices"][0]["text"] for c in chunks if c["choices"]),
                         whole["choices"][0]["text"])

    def test_a_form_is_refused_with_the_way_out(self):
        text = self.curl("/v1/completions", "-d", json.dumps(ASK), "-w", "\n%{http_code}")
        self.assertTrue(text.endswith("\n415"), text)
        self.assertIn("-H", json.loads(text.rsplit("\n", 1)[0])["error"]["message"])

    def test_prometheus_reads_the_metrics(self):
        for field in ({}, {"deferral_rule": "token-v3"}, {"temperature": 9}):
            self.curl("/v1/completions", body={**ASK, **field})
        families = {f.name: f for f in text_string_to_metric_families(self.curl("/metrics"))}
        self.assertTrue(all(name.startswith("weir:") for name in families))
        self.assertGreater(len(families), 30)

        def value(family, name=None, **labels):
            found = [
                s.value for s in families[family].samples
                if s.name == (name or family) and labels.items() <= s.labels.items()
            ]
            self.assertEqual(len(found), 1, (family, labels))
            return found[0]

        first = "weir:time_to_first_token_seconds"
        self.assertEqual(families[first].type, "histogram")
        self.assertGreaterEqual(value(first, first + "_bucket", le="+Inf"), 2)
        self.assertEqual(value(first, first + "_count"), value(first, first + "_bucket", le="+Inf"))
        self.assertGreaterEqual(
            value("weir:http_requests", "weir:http_requests_total", path="/v1/completions", code="400"), 1)
        self.assertGreater(value("weir:examined_rows", "weir:examined_rows_total", rule="token-v3"), 0)
        self.assertEqual({s.labels["model_name"] for f in families.values() for s in f.samples}, {"demo"})


class UnixSocket(unittest.TestCase):
    def test_answers(self):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "weir.sock"
            server = Server(DEMO, "--host", str(path), "--alias", "demo", "--log-disable")
            text = run(["curl", "-sS", "--unix-socket", path, "http://localhost/health"])
            self.assertEqual(json.loads(text), {"status": "ok"})
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
