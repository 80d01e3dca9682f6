"""lm-eval with its API models: log-likelihoods are those of `weir score`, texts those of `weir generate`."""
import json
import random
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

from fixture import DecoderTest, ServerTest, run
from server import DEMO, generate, lines_of

ITEMS = 200
WORDS = [
    "the", "hat", "is", "red", "and", "Where", "ab", "xxxx", "price:", "12", "déjà", "帽子", "🙂", "WORD",
    "it's", "\n", "  ", "tab\t", "e\u0301"
]


def some_text(rng, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, most)))


class LogLikelihood(DecoderTest):
    """Every second item is what the model itself would have written, so that is_greedy is true of many."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        rng = random.Random(1)
        contexts = [some_text(rng, 12) for _ in range(ITEMS)]
        written = generate(cls.MODELS, [{"prompt": c, "temperature": 0, "max_tokens": 1 + i % 7}
                                        for i, c in enumerate(contexts)])
        cls.items = [(c, some_text(rng, 6) if i % 2 else w["token_ids"])
                     for i, (c, w) in enumerate(zip(contexts, written))]

    def model(self, **options):
        return LocalCompletionsAPI(model="made",
                                   base_url=self.v1 + "/completions",
                                   tokenizer_backend="remote",
                                   max_length=512,
                                   **options)

    def ids(self, lm):
        """(context, continuation) as ids, none empty."""
        pairs = [(lm.tok_encode(c), x if isinstance(x, list) else lm.tok_encode(" " + x))
                 for c, x in self.items]
        return [(c, x) for c, x in pairs if x]

    def wanted(self, pairs):
        """log p by `weir score`; greedy: the verifier alone, at temperature 0, writes the same."""
        scores = lines_of("score", ["-m", str(self.verifier)],
                          [{"prompt_ids": c, "completion_ids": x} for c, x in pairs])
        writes = generate(["-m", str(self.verifier)],
                          [{"prompt_ids": c, "temperature": 0, "max_tokens": len(x)} for c, x in pairs])
        return [(sum(s["logprobs"]), w["token_ids"] == x) for s, w, (_, x) in zip(scores, writes, pairs)]

    def check(self, **options):
        lm = self.model(**options)
        pairs = self.ids(lm)
        got = lm._loglikelihood_tokens([(("", ""), c, x) for c, x in pairs], disable_tqdm=True)
        want = self.wanted(pairs)
        self.assertGreater(len(pairs), ITEMS * 9 // 10)
        self.assertGreater(sum(greedy for _, greedy in want), ITEMS // 4)
        self.assertGreater(sum(not greedy for _, greedy in want), ITEMS // 4)
        self.assertEqual([(float(a), bool(b)) for a, b in got], want)

    def test_one_at_a_time(self):
        self.check()

    def test_batches_at_once(self):
        self.check(batch_size=8, num_concurrent=4)

    def test_texts(self):
        """As tasks ask: text in, split by the client with the server's tokenizer."""
        lm = self.model(num_concurrent=8)
        # The client moves spaces at a context's end to the continuation, and wants a context to remain.
        texts = [(c, " " + x) for c, x in self.items if isinstance(x, str) and c.strip()]
        requests = [Instance("loglikelihood", {}, t, i) for i, t in enumerate(texts)]
        pairs = [lm._encode_pair(*t) for t in texts]
        got = lm.loglikelihood(requests, disable_tqdm=True)
        self.assertEqual([(float(a), bool(b)) for a, b in got], self.wanted(pairs))

    def test_the_remote_tokenizer(self):
        lm = self.model()
        for text, _ in self.items[:40]:
            ids = lm.tok_encode(text)
            self.assertEqual(lm.tokenizer.decode(ids), text.replace("e\u0301", "é"))
        self.assertEqual(lm.tokenizer.eos_token, "<|end|>")
        self.assertIsNone(lm.tokenizer.bos_token)


def write_task(folder, name, fields, docs):
    """A task of lm-eval's in a folder: its description and its data."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(d) + "\n" for d in docs))
    lines = [
        f"task: {name}", "dataset_path: json", "dataset_kwargs:", "  data_files:", f"    test: {data}",
        "test_split: test", *fields
    ]
    (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")


GENERATE = [
    "output_type: generate_until", "doc_to_text: \"{{text}}\"", "doc_to_target: \"{{text}}\"",
    "generation_kwargs:", "  until: [\"###\"]", "  max_gen_toks: 24", "metric_list:",
    "  - metric: exact_match"
]
CHOOSE = [
    "output_type: multiple_choice", "doc_to_text: \"{{text}}\"",
    "doc_to_choice: [\"the hat\", \"red\", \"is\"]", "doc_to_target: 0", "metric_list:", "  - metric: acc"
]


def samples_of(folder, model, url, name, task, *flags, tokenizer="remote", options=""):
    """The program lm_eval over a task; its samples in the task's order."""
    out = folder / "out"
    about = f"model={name},base_url={url},num_concurrent=8,max_length=512,tokenizer_backend={tokenizer}"
    run([sys.executable, "-m", "lm_eval", "run", "--model", model, "--model_args", about + options, "--tasks",
         task, "--include_path", folder, "--output_path", out, "--log_samples", *flags],
        env={"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home"),
             "OPENAI_API_KEY": "none"})
    files = list(out.rglob(f"samples_{task}_*.jsonl"))
    assert len(files) == 1, files
    samples = [json.loads(line) for line in files[0].read_text().splitlines()]
    return sorted(samples, key=lambda s: s["doc_id"])


SENTENCES = [
    "Where is my hat?", "I am tired.", "He said that he would not come.", "The house is red.",
    "Do you speak German?", "It is cold today."
]


class Program(ServerTest):
    def test_chat_writes_what_the_command_line_writes(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_task(folder, "weir_chat", GENERATE, [{"text": s} for s in SENTENCES])
            got = samples_of(folder, "local-chat-completions", self.v1 + "/chat/completions", "demo",
                             "weir_chat", "--apply_chat_template", tokenizer="None")
        want = generate([*DEMO, "--chat-template", "plain"],
                        [{"messages": [{"role": "user", "content": s}], "temperature": 0, "max_tokens": 24}
                         for s in SENTENCES])
        self.assertEqual([s["resps"][0][0] for s in got], [w["text"] for w in want])

    def test_completions_of_a_t5_pair(self):
        """Prompts as texts: lm-eval's ids would lack the end-of-text token that a T5's prompt has."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_task(folder, "weir_text", GENERATE, [{"text": s} for s in SENTENCES])
            got = samples_of(folder, "local-completions", self.v1 + "/completions", "demo", "weir_text",
                             options=",tokenized_requests=False")
        want = generate(DEMO, [{"prompt": s, "temperature": 0, "max_tokens": 24} for s in SENTENCES])
        self.assertEqual([s["resps"][0][0] for s in got], [w["text"] for w in want])


class Choices(DecoderTest):
    def test_multiple_choice(self):
        rng = random.Random(2)
        docs = [{"text": some_text(rng, 8).strip()} for _ in range(12)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_task(folder, "weir_choice", CHOOSE, docs)
            got = samples_of(folder, "local-completions", self.v1 + "/completions", "made", "weir_choice")
        for sample in got:
            likelihoods = [float(r[0][0]) for r in sample["resps"]]
            self.assertEqual(len(likelihoods), 3)
            self.assertEqual(sample["acc"], float(np.argmax(likelihoods) == 0))
            self.assertTrue(all(np.isfinite(likelihoods)) and max(likelihoods) < 0)


if __name__ == "__main__":
    unittest.main()
