"""aiperf and guidellm, as programs: they finish without an error, and count what the server counts."""
import json
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

from fixture import ServerTest, run
from server import ROOT

BIN = Path(sys.executable).parent
REQUESTS = 20


def hub(folder):
    """A cache as huggingface_hub lays it out, with the demo pair's tokenizer as weir/demo, so that nothing is
    downloaded."""
    revision = "0" * 40
    repo = folder / "hub/models--weir--demo"
    snapshot = repo / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(revision)
    for name in ("config.json", "spiece.model", "tokenizer_config.json"):
        (snapshot / name).symlink_to(ROOT / "models/demo/verifier" / name)
    return {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}


class Bench(ServerTest):
    FLAGS = [*ServerTest.FLAGS, "--metrics-prefix", "vllm"]

    def total(self, name):
        with urllib.request.urlopen(self.url + "/metrics") as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"vllm:{name}{{"))

    def aiperf(self, kind, *flags):
        before = {name: self.total(name) for name in ("generation_tokens_total", "prompt_tokens_total")}
        with tempfile.TemporaryDirectory() as name:
            out = Path(name) / "out"
            run([
                BIN / "aiperf", "profile", "--model", "demo", "--url", self.url, "--endpoint-type", kind,
                "--tokenizer", "weir/demo", "--concurrency", "4", "--request-count",
                str(REQUESTS), "--isl", "20", "--osl", "16", "--use-server-token-count", "--workers-max", "1",
                "--record-processor-service-count", "1", "--no-gpu-telemetry", "--ui", "none",
                "--output-artifact-dir", out, *flags
            ],
                env=hub(Path(name) / "home"),
                cwd=name)
            got = json.loads((out / "profile_export_aiperf.json").read_text())
            metrics = json.loads((out / "server_metrics_export.json").read_text())
        self.assertEqual(got["request_count"]["avg"], REQUESTS)
        self.assertFalse(got.get("error_summary"))
        self.assertEqual(got["total_output_tokens"]["avg"],
                         self.total("generation_tokens_total") - before["generation_tokens_total"])
        self.assertEqual(got["total_usage_prompt_tokens"]["avg"],
                         self.total("prompt_tokens_total") - before["prompt_tokens_total"])
        return got, json.dumps(metrics)

    def test_aiperf_completions(self):
        got, metrics = self.aiperf("completions", "--streaming")
        self.assertGreater(got["time_to_first_token"]["avg"], 0)
        for name in ("vllm:time_to_first_token_seconds", "vllm:num_requests_running",
                     "vllm:kv_cache_usage_perc"):
            self.assertIn(name, metrics)

    def test_aiperf_chat_without_a_stream(self):
        self.aiperf("chat")

    def test_guidellm(self):
        before = self.total("request_success_total")
        with tempfile.TemporaryDirectory() as name:
            out = Path(name) / "out.json"
            run([
                BIN / "guidellm", "benchmark", "run", "--target", self.url, "--model", "demo", "--processor",
                ROOT / "models/demo/verifier", "--data", "prompt_tokens=20,output_tokens=16", "--rate-type",
                "concurrent", "--rate", "2", "--max-requests",
                str(REQUESTS), "--disable-progress", "--output-path", out
            ],
                env={"HF_HOME": f"{name}/home", "HF_HUB_OFFLINE": "1"},
                cwd=name)
            report = json.loads(out.read_text())
        requests = report["benchmarks"][0]["requests"]
        self.assertEqual((len(requests["successful"]), requests["errored"]), (REQUESTS, []))
        self.assertTrue(
            all(r["output_tokens"] > 0 and r["time_to_first_token_ms"] > 0 for r in requests["successful"]))
        self.assertGreaterEqual(self.total("request_success_total") - before, REQUESTS)


if __name__ == "__main__":
    unittest.main()
