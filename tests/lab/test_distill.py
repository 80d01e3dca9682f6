"""Distilling: losses against autograd, shapes, files that were cut, training that goes on bit by bit."""
import contextlib
import io
import json
import os
import shutil
import subprocess
import unittest
from pathlib import Path
from unittest import mock

from support import DEMO, PROGRAM, Case, needs_program

try:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration
except ImportError as e:
    raise unittest.SkipTest(f"distilling is not tested ({e}): ./make.sh lab test distill has PyTorch") from e

from lab import cli
from lab.distill import laws, losses, models, run, samples, training
from lab.errors import LabError
from lab.grid import Plan

CPU = torch.device("cpu")
V = 40


def tiny(seed: int, **more) -> T5ForConditionalGeneration:
    """A random T5 of some 6,000 parameters."""
    torch.manual_seed(seed)
    said = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_heads": 2, "num_layers": 1, "vocab_size": V,
            "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0,
            "pad_token_id": 0, "eos_token_id": 1, "dropout_rate": 0.0, **more}
    return T5ForConditionalGeneration(T5Config(**said)).eval()


def texts(number: int) -> list[samples.Sample]:
    """Random prompts and answers of 1 to 9 tokens."""
    g = torch.Generator().manual_seed(5)

    def ids() -> list[int]:
        return torch.randint(2, V, (int(torch.randint(1, 10, (1,), generator=g)),), generator=g).tolist()

    return [samples.Sample(ids(), ids()) for _ in range(number)]


def law(model, sample: samples.Sample) -> torch.Tensor:
    """The whole law at each token of the answer, by the model's own forward call."""
    with torch.no_grad():
        out = model(input_ids=torch.tensor([sample.prompt]),
                    decoder_input_ids=torch.tensor([[0, *sample.tokens[:-1]]])).logits[0]
    return torch.softmax(out, -1)


def distance(verifier, drafter, members: list[samples.Sample]) -> float:
    """Mean total variation distance over all tokens."""
    return float(torch.cat([(law(verifier, s) - law(drafter, s)).abs().sum(-1) / 2 for s in members]).mean())


class Quiet(Case):
    def setUp(self) -> None:
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.said = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self.addCleanup(torch.set_num_threads, threads)

    def laws_of(self, verifier, members: list[samples.Sample], keep: int) -> laws.Laws:
        kept = laws.Laws(self.folder, members, keep)
        laws.write(verifier, kept, 1.0, False)
        kept.map()
        return kept


class Losses(unittest.TestCase):
    def rows(self, keep: int):
        torch.manual_seed(1)
        states = torch.randn(7, 5, dtype=torch.double, requires_grad=True)
        weight = torch.randn(50, 5, dtype=torch.double, requires_grad=True)
        whole = torch.softmax(2 * torch.randn(7, 50, dtype=torch.double), -1)
        p, ids = whole.topk(keep)
        return states, weight, whole, p, ids

    def test_gradients_are_those_of_autograd(self):
        for temp in (1.0, 0.7):
            for name in losses.LOSSES:
                states, weight, _, p, ids = self.rows(8)
                with mock.patch.object(losses, "CHUNK", 3):  # several chunks, the last one short
                    loss, accepted = losses.HeadLoss.apply(states, weight, ids, p, name, temp, False)
                found = torch.autograd.grad(2 * loss, (states, weight))
                q = torch.softmax(states @ weight.T / temp, -1).gather(-1, ids)
                p_tail, q_tail = 1 - p.sum(-1), 1 - q.sum(-1)
                kl = ((p * (p / q).log()).sum(-1) + p_tail * (p_tail / q_tail).log()).mean()
                overlap = torch.minimum(p, q).sum(-1).mean()
                truth = {"kl": kl, "tv": 1 - overlap}[name]
                self.assertAlmostEqual(loss.item(), truth.item(), places=12)
                self.assertAlmostEqual(accepted.item(), overlap.item(), places=12)
                for a, b in zip(found, torch.autograd.grad(2 * truth, (states, weight))):
                    self.assertLess((a - b).abs().max().item(), 1e-12, (name, temp))

    def test_kept_tokens_bound_the_whole_divergence(self):
        for keep in (1, 8, 50):
            states, weight, whole, p, ids = self.rows(keep)
            q = torch.softmax(states @ weight.T, -1)
            kl = (whole * (whole / q).log()).sum(-1).mean().item()
            tv = ((whole - q).abs().sum(-1) / 2).mean().item()
            found = {n: losses.HeadLoss.apply(states, weight, ids, p, n, 1.0, False)[0].item()
                     for n in losses.LOSSES}
            self.assertLessEqual(found["kl"], kl + 1e-9)
            self.assertGreaterEqual(found["tv"], tv - 1e-9)
            if keep == 50:
                self.assertAlmostEqual(found["kl"], kl, places=6)
                self.assertAlmostEqual(found["tv"], tv, places=9)

    def test_bf16_gradients_are_near(self):
        states, weight, _, p, ids = (x.detach().float() if x.is_floating_point() else x for x in self.rows(8))
        states.requires_grad_(), weight.requires_grad_()
        exact, half = (torch.autograd.grad(losses.HeadLoss.apply(states, weight, ids, p, "kl", 1.0, h)[0],
                                           (states, weight)) for h in (False, True))
        for a, b in zip(exact, half):
            self.assertLess(float((a - b).norm() / a.norm()), 0.02)
            self.assertGreater(float((a - b).norm()), 0)


class States(unittest.TestCase):
    def test_states_give_the_model_s_own_laws(self):
        members = texts(9)
        for more in ({}, {"tie_word_embeddings": True}):
            model = tiny(1, **more)
            with torch.no_grad():
                found = torch.softmax(models.states(model, members) @ models.head(model).T, -1)
            truth = torch.cat([law(model, s) for s in members])
            self.assertEqual(found.shape, truth.shape)
            self.assertLess((found - truth).abs().max().item(), 1e-5, more)

    def test_a_decoder_reads_prompt_and_answer_as_one(self):
        torch.manual_seed(1)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=V, hidden_size=16, intermediate_size=16,
                                             num_hidden_layers=1, num_attention_heads=2)).eval()
        members = texts(9)
        with torch.no_grad():
            found = models.states(model, members) @ models.head(model).T
            whole = [model(torch.tensor([[*s.prompt, *s.tokens[:-1]]])).logits[0] for s in members]
            truth = torch.cat([w[len(s.prompt) - 1:] for w, s in zip(whole, members)])
        self.assertEqual(found.shape, truth.shape)
        self.assertLess((found - truth).abs().max().item(), 1e-5)


class Shapes(Quiet):
    def test_a_grown_drafter_computes_the_same(self):
        model = tiny(1)
        members = texts(5)
        for shape in ("enc=3", "dec=2", "ff=40", "heads=4", "d=24", "enc=2,dec=2,d=32,ff=48,heads=3"):
            grown = models.reshaped(model, models.shape_of(shape), 1)
            self.assertGreater(sum(p.numel() for p in grown.parameters()),
                               sum(p.numel() for p in model.parameters()))
            self.assertLess(distance(model, grown, members), 1e-4, shape)

    def test_a_shrunk_one_keeps_the_first_layers(self):
        model = tiny(1, num_layers=2, num_decoder_layers=2)
        shrunk = models.reshaped(model, models.shape_of("dec=1"), 1)
        self.assertEqual(shrunk.config.num_decoder_layers, 1)
        for name, tensor in shrunk.named_parameters():
            self.assertTrue(torch.equal(tensor, dict(model.named_parameters())[name]), name)

    def test_bad_shapes_are_refused(self):
        for said in ("layers=2", "enc=0", "d=x", "enc"):
            with self.refused("--shape", said.split("=")[0], "enc, dec, d, ff"):
                models.shape_of(said)


class Kept(Quiet):
    def test_laws_that_were_cut_go_on_with_the_same_bytes(self):
        verifier, members = tiny(1), texts(50)
        with mock.patch.object(laws, "BLOCK", 16):
            kept = self.laws_of(verifier, members, 8)
            whole = [p.read_bytes() for p in (kept.ids_path, kept.p_path)]
            for cut in ((0, 0), (4 * 8, 2 * 8 * 30), (4 * 8 * 99 + 3, 2 * 8 * 120 + 1)):
                for path, data, size in zip((kept.ids_path, kept.p_path), whole, cut):
                    path.write_bytes(data[:size])
                again = laws.Laws(self.folder, members, 8)
                self.assertLess(again.complete(), len(members))
                laws.write(verifier, again, 1.0, False)
                self.assertEqual([p.read_bytes() for p in (kept.ids_path, kept.p_path)], whole, cut)

    def test_rows_are_the_likeliest_tokens_of_each_law(self):
        verifier, members = tiny(1), texts(20)
        kept = self.laws_of(verifier, members, 8)
        ids, p = kept.rows([7, 3], CPU)
        truth = torch.cat([law(verifier, members[m]) for m in (7, 3)])
        self.assertTrue(torch.equal(ids, truth.topk(8).indices))
        self.assertLess((p - truth.topk(8).values).abs().max().item(), 1e-3)

    def test_batches_hold_every_sample_once_and_no_more_tokens_than_said(self):
        members = texts(100)
        lengths = {m: (len(s.prompt), len(s.tokens)) for m, s in enumerate(members)}
        cut = samples.packed(lengths, range(100), 64)
        self.assertEqual(sorted(m for b in cut for m in b), list(range(100)))
        for b in cut:
            self.assertTrue(len(b) == 1 or len(b) * max(sum(lengths[m]) for m in b) <= 64)
        self.assertEqual(samples.packed(lengths, [3], 1), [[3]])


class Trained(Quiet):
    recipe = training.Recipe(steps=120, kl=0.3, batch=256, rate=1e-2, temp=1.0, seed=1, half=False)

    def training_of(self, kept: laws.Laws, name: str, **more) -> training.Training:
        recipe = training.Recipe(**{**vars(self.recipe), **more})
        return training.Training(tiny(2), kept, recipe, self.folder / name, {"verifier": "tiny"})

    def test_training_lowers_the_distance(self):
        verifier, members = tiny(1), texts(200)
        kept = self.laws_of(verifier, members, 16)
        before = distance(verifier, tiny(2), members)
        train = self.training_of(kept, "c.pt")
        train.run()
        after = distance(verifier, train.model, members)
        self.assertLess(after, 0.8 * before, (before, after))
        self.assertEqual({name for _, name, _, _ in train.history}, {"kl", "tv"})
        self.assertEqual(train.history[-1][0], 120)

    def test_a_run_that_was_cut_goes_on_with_the_same_bits(self):
        kept = self.laws_of(tiny(1), texts(200), 16)
        whole = self.training_of(kept, "whole.pt")
        whole.run()

        def cut(step: int) -> None:
            if step in (7, 61):
                raise KeyboardInterrupt

        for seconds in (0.0, 1e9):  # a checkpoint after each step; none before the end
            for _ in range(3):
                part = self.training_of(kept, f"part{seconds}.pt")
                part.resume()
                begun = part.step
                with contextlib.suppress(KeyboardInterrupt):
                    part.run(save_seconds=seconds, after=cut if seconds == 0 else lambda step: None)
            self.assertEqual(part.step, 120)
            self.assertEqual(begun, 120 if seconds else 61)
            self.assertEqual([list(h) for h in part.history], [list(h) for h in whole.history])
            for (name, a), b in zip(whole.model.named_parameters(), part.model.parameters()):
                self.assertTrue(torch.equal(a, b), name)

    def test_another_recipe_and_a_broken_checkpoint_are_refused(self):
        kept = self.laws_of(tiny(1), texts(20), 16)
        train = self.training_of(kept, "c.pt", steps=2)
        train.run()
        with self.refused("c.pt", "recipe.rate was 0.01, is 0.5", "--fresh"):
            self.training_of(kept, "c.pt", steps=2, rate=0.5).resume()
        data = train.path.read_bytes()
        for size in (0, 10, len(data) // 2):
            train.path.write_bytes(data[:size])
            with self.refused("c.pt", "broken checkpoint", "--fresh"):
                self.training_of(kept, "c.pt", steps=2).resume()

    def test_a_loss_that_is_no_number_ends_the_run(self):
        train = self.training_of(self.laws_of(tiny(1), texts(20), 16), "c.pt", rate=1e30)
        with self.refused("step", "nan", "--rate"):
            train.run()


@needs_program
class Program(Quiet):
    def plan(self, **more) -> Plan:
        return Plan(model=DEMO / "verifier", draft=DEMO / "drafter", program=PROGRAM, threads=1, **more)

    def distil(self, *flags: str) -> tuple[int, str]:
        prompts = self.file("prompts.jsonl", "".join(json.dumps({"prompt": f"Tom has {n} cats."}) + "\n"
                                                     for n in range(12)))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = cli.main(["distill", "--task", "prompts", "--data", str(prompts), "-t", "1", "--program",
                             str(PROGRAM), "-m", str(DEMO / "verifier"), "-md", str(DEMO / "drafter"),
                             "--out", str(self.folder / "out"), "--judged", "3", "--steps", "3",
                             "--rule", "exact", "--rule", "token-v3:0.5", *flags])
        return code, out.getvalue()

    def test_what_is_saved_is_what_was_opened(self):
        model = models.open_model(DEMO / "drafter", CPU)
        out = self.folder / "saved"
        models.save(model, DEMO / "drafter", out, {"a": 1})
        said = [subprocess.run([PROGRAM, "generate", "-m", str(d), "-p", "Where is my hat?", "--jsonl", "-q"],
                               capture_output=True, check=True).stdout for d in (DEMO / "drafter", out)]
        a, b = (json.loads(x) for x in said)
        self.assertEqual((a["token_ids"], a["logprobs"]), (b["token_ids"], b["logprobs"]))
        self.assertEqual(json.loads((out / "config.json").read_text()),
                         json.loads((DEMO / "drafter/config.json").read_text()))
        self.assertEqual((out / "spiece.model").read_bytes(), (DEMO / "drafter/spiece.model").read_bytes())

    def test_the_command_trains_judges_and_goes_on(self):
        code, table = self.distil()
        self.assertEqual(code, 0, self.said.getvalue())
        self.assertIn("9 prompts to train on, 3 to judge on", self.said.getvalue())
        words = json.loads((self.folder / "out/distilled.json").read_text())
        self.assertEqual([line["rule"] for line in words["judged"]], ["exact", "token-v3"])
        self.assertEqual(words["texts"], 9)
        for line in words["judged"]:
            for when in ("before", "after"):
                self.assertTrue(0 < line["rejection"][when][0] < 1 <= line["acceptance"][when][0] <= 6)
                self.assertIn(f"{line['acceptance'][when][0]:.3f}", table)
        weights = (self.folder / "out/model.safetensors").read_bytes()
        self.assertNotEqual(weights, (DEMO / "drafter/model.safetensors").read_bytes())
        # a part of each stage's work is lost: all of it is made again
        work = self.folder / "out.work"
        shutil.rmtree(self.folder / "out")
        os.truncate(work / "samples.jsonl", (work / "samples.jsonl").stat().st_size - 9)
        os.truncate(work / "laws.p", 1000)
        (work / "checkpoint.pt").unlink()
        self.assertEqual(self.distil(), (0, table))
        self.assertEqual((self.folder / "out/model.safetensors").read_bytes(), weights)

    def test_other_settings_are_refused_and_fresh_starts_over(self):
        self.assertEqual(self.distil()[0], 0)
        for flags, words in ((("--steps", "4"), "recipe.steps was 3, is 4"), (("--keep", "5"), "keep was 64"),
                             (("--temp", "0.5"), "temp was 1"), (("--shape", "enc=4"), "drafter")):
            self.assertEqual(self.distil(*flags)[0], 1, flags)
            last = self.said.getvalue().splitlines()[-1]
            self.assertIn(words, last)
            self.assertIn("--fresh", last)
        self.assertEqual(self.distil("--shape", "enc=4", "--steps", "1", "--fresh")[0], 0)
        self.assertEqual(json.loads((self.folder / "out/config.json").read_text())["num_layers"], 4)

    def test_requests_that_cannot_be_met(self):
        for flags, words in ((("--temp", "0"), "temperature above 0"),
                             (("--modifier", "top_k=5"), "no top_k"),
                             (("--out", str(DEMO / "drafter")), "is one of the models"),
                             (("--judged", "12"), "none is left"), (("--shape", "enc=x"), "--shape enc=x"),
                             (("-md", str(self.folder)), "transformers cannot open it")):
            self.assertEqual(self.distil(*flags)[0], 1, flags)
            self.assertIn(words, self.said.getvalue().splitlines()[-1])

    def test_a_prompt_that_is_judged_on_is_not_trained_on(self):
        judged = self.file("held.jsonl", '{"prompt": "Tom has 3 cats."}\n{"prompt": "Tom has 30 cats."}\n')
        plan = self.plan(task="prompts", data=[self.file("p.jsonl", "".join(
            json.dumps({"prompt": f"Tom has {n} cats."}) + "\n" for n in range(12)))])
        request = run.Request(plan, self.folder / "out", self.folder / "work", judged, 300, {}, 8,
                              Trained.recipe, CPU, False)
        task, held = run.split(request)
        self.assertEqual(len(task.examples), 11)
        self.assertNotIn("Tom has 3 cats.", {e.prompt for e in task.examples})
        self.assertEqual(len(held.examples), 2)

    def test_a_tokenizer_that_disagrees_with_the_program_is_refused(self):
        plan = self.plan(task="prompts", data=[self.file("p.jsonl", '{"prompt": "Tom has a cat."}\n')])
        task = run.split(run.Request(plan, self.folder / "o", self.folder / "w", self.file(
            "held.jsonl", '{"prompt": "No."}\n'), 300, {}, 8, Trained.recipe, CPU, False))[0]
        path = self.folder / "s.jsonl"
        samples.write(plan, task, path, False)
        reader = models.prompt_reader(plan.model)
        found = samples.read(plan, task, path, 1, reader)
        self.assertEqual(found[0].prompt, reader("Tom has a cat."))
        self.assertEqual(found[0].tokens[-1], 1)
        with self.refused("prompt 0", "in weir", "in transformers"):
            samples.read(plan, task, path, 1, lambda text: [4, 5])


if __name__ == "__main__":
    unittest.main()
