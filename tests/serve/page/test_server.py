"""The page and a server agree: every rule answers, and what the page shows is what the server sent. Runs
against the mock, too, so that both have the same shapes."""
from __future__ import annotations

import unittest

from selenium.webdriver.common.keys import Keys

from browser import PageTest

NUMBER = r"^−?\d+(\.\d+)?( %)?$"


class Server(PageTest):
    def start(self, mode: str = "mode-completion") -> None:
        self.open("#max_tokens=24")
        if not self.at(mode).is_enabled():
            self.skipTest("no chat template here")
        self.js("document.getElementById(arguments[0]).click()", mode)

    def facts(self) -> list[list[str]]:
        """Of each token of the last answer: piece, id, source, log p, log π."""
        self.js("[...document.querySelectorAll('.answer .text')].pop().querySelector('.t').focus()")
        out: list[list[str]] = []
        while True:
            cells = self.texts("#tip dd")
            out += [cells[i:i + 5] for i in range(0, len(cells), 5)]
            before = self.js("return document.activeElement")
            self.keys(Keys.ARROW_RIGHT)
            if self.js("return document.activeElement") == before:
                return out

    def test_every_rule_answers(self) -> None:
        self.start()
        for rule in self.texts("#rule option"):
            with self.subTest(rule=rule):
                self.rule(rule)
                self.assertTrue(self.ask("Where is my hat?"))
                self.assertEqual(self.texts(".answer .bad")[-1], "")
                self.assertEqual(self.texts(".answer h3 span:first-child")[-1].split(",")[0], rule)

    def test_tokens_have_ids_sources_and_two_log_probabilities(self) -> None:
        for mode in ("mode-completion", "mode-chat"):
            with self.subTest(mode=mode):
                self.start(mode)
                self.rule("token-v3")
                text = self.ask("Where is my hat? It was in the hall yesterday.")
                facts = self.facts()
                self.assertGreater(len(facts), 3)
                counts: dict[str, int] = {}
                for piece, id, source, p, pi in facts:
                    self.assertRegex(id, r"^\d+$")
                    self.assertRegex(p, NUMBER)
                    self.assertRegex(pi, NUMBER)
                    counts[source] = counts.get(source, 0) + 1
                counts.pop("end of text", None)
                self.assertLessEqual(set(counts), {"kept", "accepted", "resampled", "bonus"})
                legend = dict(zip(self.texts(".legend li span span"), map(int, self.texts(".legend b"))))
                self.assertEqual({k: n for k, n in legend.items() if n}, counts)
                self.assertEqual("".join(self.texts(".answer:last-of-type .text .t")), text)

    def test_the_same_seed_gives_the_same_answer(self) -> None:
        self.start()
        self.rule("lossy")
        self.fill("seed", "11")
        self.assertEqual(self.ask("Where is my hat?"), self.ask("Where is my hat?"))
        self.assertEqual(self.texts(".foot span"), ["seed 11"] * 2)

    def test_figures_are_numbers(self) -> None:
        self.start()
        self.rule("token-v3")
        self.ask("Where is my hat?")
        for id in ("f-speed", "f-first", "f-length", "f-calls", "f-deferral", "f-rejection"):
            self.assertRegex(self.at(id).text, NUMBER, id)

    def test_exact_beside_itself_is_the_same(self) -> None:
        self.start()
        self.rule("exact")
        for together in (False, True):
            self.tick("beside")
            self.tick("together", together)
            self.fill("seed", "5")
            self.ask("Where is my hat?")
            self.assertRegex(self.texts(".verdict")[-1], r"^Both answers have the same \d+ tokens\.$")

    def test_exact_beside_a_rule_marks_where_they_part(self) -> None:
        self.start()
        self.rule("lossy")
        self.fill("alpha", "0.9")
        self.tick("beside")
        for seed in range(1, 20):
            self.fill("seed", str(seed))
            self.ask("The old lamp was on the table, and the hat was in the hall.")
            if self.texts(".verdict")[-1].startswith("First difference"):
                break
        last = "[...document.querySelectorAll('.turn')].pop()"
        marked = self.js(f"return [...{last}.querySelectorAll('.answer')].map(a => [...a.querySelectorAll("
                         "'.t')].findIndex(t => t.classList.contains('differs')))")
        before = self.js(f"return [...{last}.querySelectorAll('.answer')].map((a, i) => "
                         "[...a.querySelectorAll('.t')].slice(0, arguments[0][i]).map(t => t.textContent))",
                         marked)
        self.assertTrue(max(marked) >= 0, marked)
        if min(marked) >= 0:  # else one of them ended there
            self.assertEqual(before[0], before[1])
        for cell in self.texts(".turn:last-child td")[1:]:
            self.assertRegex(cell, NUMBER)


if __name__ == "__main__":
    unittest.main()
