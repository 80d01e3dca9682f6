"""Every loader on its release's format, and on files that are not of it."""
import json
import unittest

from lab import tasks
from lab.tasks import math, open_task
from lab.tasks.code import plain
from support import Case


def lines(*records):
    return "".join(json.dumps(r) + "\n" for r in records)


class Samples(Case):
    def test_every_sample_of_the_tree_loads(self):
        for name, (_, sample) in tasks.LOADERS.items():
            with self.subTest(name):
                if not sample:
                    with self.refused(f"task {name}", "--data"):
                        open_task(name, [], 0, {})
                    continue
                task = open_task(name, [], 0, {})
                self.assertGreaterEqual(len(task.examples), 20)
                for example in task.examples:
                    self.assertTrue(example.prompt.strip())
                    self.assertTrue(example.references or example.test)

    def test_a_limit_takes_the_first_prompts(self):
        whole = open_task("translation", [], 0, {})
        self.assertEqual(open_task("translation", [], 3, {}).examples, whole.examples[:3])
        with self.refused("1001 prompts wanted", "has 1000"):
            open_task("translation", [], 1001, {})

    def test_unknown_names_are_refused(self):
        with self.refused("unknown task", "gsm8k"):
            open_task("gsm9k", [], 0, {})
        with self.refused("unknown option shot"):
            open_task("gsm8k", [], 0, {"shot": 3})
        with self.refused("shots", "whole number"):
            open_task("gsm8k", [], 0, {"shots": "many"})


class Formats(Case):
    def load(self, task, name, text, **options):
        return open_task(task, [self.file(name, text)], 0, options)

    def test_translation_from_two_files_a_tsv_and_json(self):
        two = open_task("translation",
                        [self.file("a.en", "one\ntwo\n"), self.file("a.de", "eins\r\nzwei\r\n")], 0, {})
        tsv = self.load("translation", "a.tsv", "x\tone\teins\nx\ttwo\tzwei\n", source_column=1,
                        target_column=2)
        objects = self.load("translation", "a.jsonl", lines({"prompt": "one", "reference": "eins"},
                                                            {"prompt": "two", "reference": "zwei"}))
        for task in (two, tsv, objects):
            self.assertEqual([(e.prompt, e.references) for e in task.examples],
                             [("one", ("eins",)), ("two", ("zwei",))])
            self.assertEqual(task.stop, ())

    def test_shots_are_shown_and_not_tested(self):
        task = self.load("translation", "a.tsv", "one\teins\ntwo\tzwei\n", shots=1)
        self.assertEqual(task.examples[0].prompt, "English: one\nGerman: eins\n\nEnglish: two\nGerman:")
        self.assertEqual(task.stop, ("\n",))

    def test_summaries_by_any_of_the_releases_field_names(self):
        for text, summary in (("document", "summary"), ("article", "highlights")):
            task = self.load("xsum", "a.jsonl", lines({text: "one two three", summary: "s"}), words=2,
                             prefix="> ")
            self.assertEqual((task.examples[0].prompt, task.examples[0].references), ("> one two", ("s",)))

    def test_gsm8k_shows_shots_without_the_calculator_notes(self):
        test = self.file("test.jsonl", lines({"question": "Q2?", "answer": "so\n#### 1,200"}))
        train = self.file("train.jsonl", lines({"question": "Q1?", "answer": "1+1=<<1+1=2>>2\n#### 2"}))
        task = open_task("gsm8k", [test, train], 0, {"shots": 1})
        self.assertEqual(task.examples[0].prompt,
                         "Question: Q1?\nAnswer: 1+1=2\n#### 2\n\nQuestion: Q2?\nAnswer:")
        self.assertEqual(task.examples[0].references, ("1200",))

    def test_numbers_of_answers(self):
        for said, number in (("#### 1,200", "1200"), ("it is $5.00.", "5"), ("3 and 4", "4"), ("-2", "-2"),
                             ("none", ""), ("#### 7 apples of 9", "7"), ("0.50", "0.5"), ("100", "100"),
                             ("#### x", "")):
            with self.subTest(said):
                self.assertEqual(math.number_of(said), number)

    def test_fences_around_programs_go(self):
        code = "def f():\n    return 1"
        for said in (code, f"```python\n{code}\n```", f"```py\n{code}\n```", f"```\n{code}\n```",
                     f"```Python\r\n{code}\n```", f"```python3\n{code}", f"```\n{code}", f"{code}\n```",
                     f"{code}\n```\nIt returns 1.", f"Here it is:\n```\n{code}\n```\nIt returns 1.",
                     f"First\n```python\nf()\n```\nbetter\n```py\n{code}\n```",
                     f"```python\n{code}\n```\nIt prints\n```\n1\n```\n"):
            with self.subTest(said):
                self.assertEqual(plain(said), code)

    def test_squad_layout_with_questions_that_have_no_answer(self):
        root = {"data": [{"paragraphs": [{"context": "C", "qas": [
            {"question": "q1", "answers": [{"text": "a"}, {"text": "a"}, {"text": "b"}]},
            {"question": "q2", "answers": [], "is_impossible": True}]}]}]}
        task = self.load("squad", "a.json", json.dumps(root))
        self.assertEqual([e.references for e in task.examples], [("a", "b"), ("unanswerable",)])

    def test_triviaqa_counts_aliases(self):
        root = {"Data": [{"Question": "q0", "Answer": {"Value": "V"}},
                         {"Question": "q1", "Answer": {"Value": "V", "Aliases": ["W", "V"]}}]}
        task = self.load("triviaqa", "a.json", json.dumps(root), shots=1)
        self.assertEqual((task.examples[0].prompt, task.examples[0].references),
                         ("Q: q0\nA: V\n\nQ: q1\nA:", ("V", "W")))

    def test_spec_bench_asks_the_first_turn_and_has_no_metric(self):
        task = self.load("spec-bench", "q.jsonl",
                         lines({"question_id": 1, "category": "math", "turns": ["a", "b"]}))
        self.assertEqual((task.examples[0].prompt, task.examples[0].category, task.metrics),
                         ("a", "math", ()))

    def test_prompts_alone_have_no_metric(self):
        for name, said in (("p.txt", "one\ntwo \n"),
                           ("p.jsonl", lines({"prompt": "one", "seed": 3}, {"prompt": "two "}))):
            task = self.load("prompts", name, said, suffix="!")
            self.assertEqual(([e.prompt for e in task.examples], task.metrics), (["one!", "two !"], ()))
        with self.refused("no such store"):
            open_task("prompts", [self.file("p.txt", "one\n"), self.folder / "s.jsonl"], 0, {})

    def test_broken_files_are_named_with_their_line(self):
        good = lines({"question": "q", "answer": ["a"]})
        cases = [
            ("nq-open", "a.jsonl", good + "{", ("a.jsonl:2:",)),
            ("nq-open", "a.jsonl", good + "[1]\n", ("a.jsonl:2:", "object")),
            ("nq-open", "a.jsonl", good + '{"question": "q"}\n', ("a.jsonl:2:", '"answer" is missing')),
            ("nq-open", "a.jsonl", good + '{"question": 5, "answer": ["a"]}\n', ("a.jsonl:2:", "int")),
            ("nq-open", "a.jsonl", good + '{"question": "q", "answer": []}\n', ("a.jsonl:2:", "empty")),
            ("nq-open", "a.jsonl", good.encode() + b"\xff\n", ("a.jsonl:2:", "UTF-8")),
            ("nq-open", "a.jsonl", good + "[" * 100000, ("a.jsonl:2:",)),
            ("translation", "a.tsv", "a\tb\nc\n", ("a.tsv:2:", "1 columns")),
            ("translation", "a.tsv", "a\tb\n \td\n", ("a.tsv:2:", "empty")),
            ("gsm8k", "a.jsonl", '{"question": "q", "answer": "5"}\n', ("a.jsonl:1:", "####")),
            ("webquestions", "a.json", "{}", ("a.json", "list")),
            ("webquestions", "a.json", "[\n{]", ("a.json:2:",)),
            ("webquestions", "a.json", '[{"qText": "q", "answers": [1]}]', ("[0]", "answers")),
            ("squad", "a.json", '{"data": [{"paragraphs": [{"context": "c"}]}]}',
             ("data[0].paragraphs[0]", "qas")),
            ("triviaqa", "a.json", '{"Data": [{"Question": "q"}]}', ("Data[0]", "Answer")),
            ("humaneval", "a.jsonl", '{"prompt": "x", "test": "t", "entry_point": "f"}\n',
             ("a.jsonl:1:", "define")),
            ("mbpp", "a.jsonl", lines({"text": "t", "code": "c", "task_id": 11, "test_list": ["x"]}),
             ("task 2",)),
            ("xsum", "a.jsonl", '{"document": "d"}\n', ("a.jsonl:1:", "summary")),
            ("spec-bench", "a.jsonl", "", ("no example",)),
            ("prompts", "a.txt", "one\n\ntwo\n", ("a.txt:2:", "expected a prompt")),
            ("prompts", "a.jsonl", '{"text": "one"}\n', ("a.jsonl:1:", '"prompt" is missing')),
        ]
        for task, name, text, parts in cases:
            with self.subTest(task=task, text=text[:60]):
                with self.refused(*parts):
                    self.load(task, name, text, **({"shots": 0} if task == "nq-open" else {}))

    def test_missing_files_and_unequal_ones(self):
        with self.refused("nowhere.jsonl", "No such file"):
            open_task("translation", [self.folder / "nowhere.jsonl"], 0, {})
        with self.refused("a.de: 1 lines", "has 2"):
            open_task("translation", [self.file("a.en", "a\nb\n"), self.file("a.de", "a\n")], 0, {})


if __name__ == "__main__":
    unittest.main()
