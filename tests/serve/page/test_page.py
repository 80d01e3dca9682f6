"""What the page does: answers, rules, links and the comparison."""
from __future__ import annotations

import time
import unittest
from urllib.parse import parse_qs, urlsplit

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import PageTest, needs_mock
from mock import MARKUP, RULES


class Answers(PageTest):
    @needs_mock
    def test_chat_sends_the_conversation_and_completion_the_prompt_alone(self) -> None:
        self.open()
        first = self.ask("One")
        self.ask("Two")
        path, body = self.mock.seen[-1]
        self.assertEqual(path, "/v1/chat/completions")
        self.assertEqual(body["messages"], [
            {"role": "user", "content": "One"}, {"role": "assistant", "content": first},
            {"role": "user", "content": "Two"}])
        self.d.find_element(By.CSS_SELECTOR, "label:has(#mode-completion)").click()
        self.assertEqual(self.texts(".answer"), [])
        self.ask("Three")
        path, body = self.mock.seen[-1]
        self.assertEqual((path, body["prompt"]), ("/v1/completions", "Three"))
        self.assertNotIn("messages", body)

    @needs_mock
    def test_without_a_chat_template_there_is_completion_only(self) -> None:
        self.open(chat=False)
        self.assertFalse(self.at("mode-chat").is_enabled())
        self.ask("One")
        self.assertEqual(self.mock.seen[-1][0], "/v1/completions")

    @needs_mock
    def test_without_a_drafter_there_are_no_rules(self) -> None:
        self.open(drafts=False)
        for id in ("rule", "alpha", "slider", "beside"):
            self.assertFalse(self.at(id).is_displayed(), id)
        self.ask("One")
        body = self.mock.seen[-1][1]
        of_rules = ("method", "deferral_rule", "deferral_alpha", "num_speculative_tokens", "exact_first")
        self.assertFalse(set(of_rules) & set(body))
        self.assertEqual(self.texts(".answer h3 span")[0], "verifier")
        self.assertEqual(self.at("about").text, "demo · verifier 61 M")

    @needs_mock
    def test_every_setting_is_sent(self) -> None:
        self.open()
        self.rule("lossy")
        self.fill("alpha", "0.25")
        self.more()
        for id, text in (("beta", "auto"), ("gamma", "3"), ("temperature", "0.7"), ("exact", "4"),
                         ("limit", "17"), ("seed", "9223372036854775807")):
            self.fill(id, text)
        self.ask("One")
        body = self.mock.seen[-1][1]
        expected = {"deferral_rule": "lossy", "deferral_alpha": 0.25, "deferral_beta": "auto",
                    "exact_first": 4, "num_speculative_tokens": 3, "temperature": 0.7, "max_tokens": 17,
                    "model": "demo",
                    "seed": 9223372036854775807, "stream": True, "return_token_ids": True,
                    "return_sources": True, "stream_options": {"include_usage": True}, "logprobs": True}
        self.assertEqual({k: body.get(k) for k in expected}, expected)
        self.assertIn("seed 9223372036854775807", self.texts(".foot")[-1])
        self.assertEqual(self.texts(".answer h3 span")[1], "limit reached")
        self.rule("exact")
        self.fill("limit", "")
        self.ask("Two")
        body = self.mock.seen[-1][1]
        self.assertEqual((body["deferral_rule"], body["max_tokens"]), ("exact", -1))
        self.assertNotIn("deferral_alpha", body)
        self.assertNotIn("deferral_beta", body)

    @needs_mock
    def test_a_seed_is_drawn_for_each_prompt_unless_it_is_kept(self) -> None:
        self.open()
        self.ask("One")
        self.ask("One")
        seeds = [b["seed"] for _, b in self.mock.seen]
        self.assertEqual(self.at("seed-does").text, "Drawn anew for each prompt.")
        self.assertNotEqual(seeds[0], seeds[1])
        self.assertEqual(self.at("seed").get_attribute("value"), str(seeds[1]))
        self.all(".foot button")[0].click()  # keep the first one's
        self.assertEqual(self.at("seed-does").text, "The same for each prompt.")
        self.ask("One")
        self.ask("One")
        self.assertEqual([b["seed"] for _, b in self.mock.seen[2:]], [seeds[0]] * 2)
        self.assertIn(f"seed {seeds[0]}", self.texts(".foot")[-1])

    @needs_mock
    def test_markup_in_a_model_s_text_is_text(self) -> None:
        self.open()
        for mode in ("mode-chat", "mode-completion"):
            self.d.find_element(By.CSS_SELECTOR, f"label:has(#{mode})").click()
            self.assertEqual(self.ask("html <i>please</i>"), "".join(MARKUP))
            self.assertEqual(self.texts(".said"), ["html <i>please</i>"])
            self.assertEqual(self.all("#turns img, #turns b:not(.counts b), #turns script, #turns i"), [])
        self.ask("refuse")
        self.assertIn("<b>64</b> requests wait. Try again in 7 s.", self.texts(".answer .bad")[-1])
        self.assertEqual(self.d.title, "weir")

    @needs_mock
    def test_characters_cut_between_tokens_belong_to_the_token_that_completes_them(self) -> None:
        self.open()
        self.fill("seed", "3")
        self.assertEqual(self.ask("odd"), "你 gut so🎩.")
        spans = self.texts(".answer .text .t")
        self.assertEqual("".join(spans), "你 gut so🎩.")
        self.assertIn(" gut", spans)
        self.assertEqual(sum(int(n) for n in self.texts(".counts b")), 8)
        self.js("document.querySelector('.answer .t').focus()")
        self.assertEqual(self.texts("#tip dd")[1::5], ["100", "101", "102"])

    @needs_mock
    def test_a_refusal_is_shown_and_the_prompt_comes_back(self) -> None:
        self.open()
        self.ask("refuse this")
        self.assertEqual(self.texts(".answer > .text + .bad"),
                         ["The queue is full: <b>64</b> requests wait. Try again in 7 s."])
        self.assertFalse(self.d.find_element(By.CSS_SELECTOR, ".answer .text").is_displayed())
        self.assertFalse(self.at("figures").is_displayed())
        self.assertEqual(self.at("prompt").get_attribute("value"), "refuse this")
        self.fill("prompt", "")
        self.ask("One")
        self.assertEqual([m["role"] for m in self.mock.seen[-1][1]["messages"]], ["user"])

    @needs_mock
    def test_a_stream_that_breaks_keeps_its_text(self) -> None:
        self.open()
        text = self.ask("break off")
        self.assertTrue(text)
        self.assertEqual(self.texts(".answer .bad"), ["The weights are gone."])
        self.assertTrue(self.d.find_element(By.CSS_SELECTOR, ".answer .text").is_displayed())
        self.assertEqual(self.texts(".answer h3 span")[1], "failed")

    @needs_mock
    def test_figures_and_counts_are_the_server_s(self) -> None:
        self.open()
        self.fill("seed", "11")
        self.ask("One")
        kinds = ("kept", "accepted", "resampled", "bonus")
        counts = {k: len(self.all(f".text .s-{k}")) for k in kinds}
        self.assertEqual(dict(zip([k for k in kinds if counts[k]], map(int, self.texts(".counts b")))),
                         {k: n for k, n in counts.items() if n})
        self.assertEqual([int(n) for n in self.texts(".legend b")], [*counts.values(), 0, 0])
        drafted = counts["kept"] + counts["accepted"]
        rows = drafted + counts["resampled"]
        calls = round(float(self.at("f-calls").text) * 40)
        self.assertEqual(self.at("f-speed").text, "123.4")
        self.assertEqual(self.at("f-length").text, f"{1 + drafted / calls:.2f}")
        self.assertEqual(self.at("f-rejection").text, f"{100 * counts['resampled'] / rows:.1f} %")
        self.assertEqual(self.at("f-deferral").text,
                         f"{100 * (counts['accepted'] + counts['resampled']) / rows:.1f} %")

    @needs_mock
    def test_figures_move_while_an_answer_is_written(self) -> None:
        self.open(pause=0.1)
        self.begin("many")
        self.until("return document.querySelectorAll('.text .t').length > 20")
        for id in ("f-speed", "f-length", "f-calls", "f-first", "f-deferral", "f-rejection"):
            self.assertRegex(self.at(id).text, r"^[\d.]+( %)?$", id)
        self.assertFalse(self.at("stop").get_attribute("hidden"))
        self.at("stop").click()
        self.done()

    @needs_mock
    def test_blanks_before_a_token_are_not_underlined(self) -> None:
        self.open()
        self.ask("One")
        parts = self.js("""return [...document.querySelectorAll('.text .t')].map(t =>
            [t.textContent, getComputedStyle(t).textDecorationLine, t.lastChild.textContent,
             getComputedStyle(t.lastChild).textDecorationLine])""")
        self.assertTrue(any(p[0].startswith(" ") for p in parts))
        for text, line, word, under in parts:
            self.assertEqual((line, word, under), ("none", text.lstrip(), "underline"))

    @needs_mock
    def test_unpainted_tokens_look_like_plain_text(self) -> None:
        self.open()
        self.ask("One")
        self.tick("paint", False)
        style = """return [...document.querySelectorAll('.text .t, .text .t span')].map(e =>
            getComputedStyle(e)).map(s => s.color + s.textDecorationLine)"""
        self.assertEqual(len(set(self.js(style))), 1)


class Stopping(PageTest):
    def stopped(self) -> None:
        self.done()
        self.assertEqual(self.texts(".answer h3 span")[-1], "stopped")
        self.assertTrue(self.texts(".answer .text")[-1])
        self.left()

    def left(self) -> None:
        end = time.monotonic() + 30
        while self.mock.left != ["many"]:
            self.assertLess(time.monotonic(), end, "the server was not left")
            time.sleep(0.05)
        self.assertEqual(self.mock.running, 0)

    @needs_mock
    def test_the_button_stops(self) -> None:
        self.open(pause=0.1)
        self.begin("many")
        self.until("return document.querySelectorAll('.text .t').length > 3")
        self.at("stop").click()
        self.stopped()
        self.assertEqual(self.focused(), "prompt")

    @needs_mock
    def test_escape_stops_from_anywhere_and_the_next_prompt_works(self) -> None:
        self.open(pause=0.1)
        self.begin("many")
        self.until("return document.querySelectorAll('.text .t').length > 3")
        self.at("rule").send_keys(Keys.ESCAPE)
        self.stopped()
        self.mock.pause = 0
        partial = self.texts(".answer .text")[0]
        self.ask("One")
        self.assertEqual(self.mock.seen[-1][1]["messages"][1], {"role": "assistant", "content": partial})

    @needs_mock
    def test_clearing_stops_and_forgets(self) -> None:
        self.open(pause=0.1)
        self.begin("many")
        self.until("return document.querySelectorAll('.text .t').length > 3")
        self.at("again").click()
        self.until("return document.getElementById('stop').hidden")
        self.assertEqual(self.texts(".answer"), [])
        self.assertFalse(self.at("figures").is_displayed())
        self.left()
        self.mock.pause = 0
        self.ask("One")
        self.assertEqual([m["content"] for m in self.mock.seen[-1][1]["messages"]], ["One"])

    @needs_mock
    def test_stopping_the_first_of_two_does_not_start_the_second(self) -> None:
        self.open(pause=0.1)
        self.tick("beside")
        self.begin("many")
        self.until("return document.querySelectorAll('.text .t').length > 3")
        self.keys(Keys.ESCAPE)
        self.done()
        self.assertEqual(self.texts(".answer h3 span + span"), ["stopped", "not started"])
        self.assertEqual(len(self.mock.seen), 1)


class Rules(PageTest):
    def test_each_rule_has_its_line_and_its_slider(self) -> None:
        self.open()
        for option in self.texts("#rule option"):
            self.rule(option)
            self.assertTrue(self.at("rule-does").text, option)
            self.assertEqual(self.at("alpha-part").is_displayed(), option != "exact")
            if option != "exact":
                lo, at, hi = (float(self.js(f"return document.getElementById('slider').{x}"))
                              for x in ("min", "value", "max"))
                self.assertTrue(lo <= at <= hi and lo < hi, (option, lo, at, hi))
                self.assertEqual(at, float(self.at("alpha").get_attribute("value")), option)
                self.assertTrue(self.js("return document.getElementById('settings').checkValidity()"), option)

    @needs_mock
    def test_the_slider_has_the_range_of_props(self) -> None:
        self.open()
        for name, lo, hi, is_open, start, beta, _ in RULES[1:]:
            self.rule(name)
            got = [float(self.at("slider").get_attribute(x)) for x in ("min", "value", "max")]
            last = start + 3 if hi is None else hi - 0.01 * is_open
            expected = [start - 3 if lo is None else lo, start, last]
            self.assertEqual(got, expected, name)
            self.assertEqual(self.at("beta-part").get_attribute("hidden") is None, beta is not None, name)

    @needs_mock
    def test_what_is_out_of_range_is_not_sent(self) -> None:
        self.open()
        self.more()
        for rule, id, text in (("lossy", "alpha", "1"), ("lossy", "alpha", "-0.1"), ("lossy", "beta", "x"),
                               ("chow", "alpha", "1.5"), ("chow", "gamma", "9"),
                               ("chow", "temperature", "2.5"), ("chow", "exact", "-1"),
                               ("chow", "limit", "0"), ("chow", "alpha", ""),
                               ("chow", "seed", "9223372036854775808"), ("chow", "seed", "1e3")):
            self.rule("exact")  # fresh knobs
            self.rule(rule)
            before = self.at(id).get_attribute("value")
            self.fill(id, text)
            self.begin("One")
            self.assertEqual(self.focused(), id, (id, text))
            self.fill(id, before)
            self.fill("prompt", "")
        self.assertEqual(self.mock.seen, [])

    @needs_mock
    def test_rules_are_those_of_the_server_s_method(self) -> None:
        self.open(method="token-cascade")
        self.assertEqual(self.texts("#rule option"), ["chow"])
        self.tick("beside")
        self.ask("One")
        (_, exact), (_, chosen) = self.mock.seen
        self.assertEqual((exact["method"], exact["deferral_rule"]), ("speculative", "exact"))
        self.assertEqual((chosen["method"], chosen["deferral_rule"]), ("token-cascade", "chow"))

    @needs_mock
    def test_a_server_of_one_model_s_method_has_all_rules(self) -> None:
        self.open(method="drafter")
        self.assertEqual(self.texts("#rule option"), [r[0] for r in RULES])
        self.ask("One")
        self.assertEqual(self.mock.seen[-1][1]["method"], "speculative")

    @needs_mock
    def test_a_rule_without_bounds_takes_any_number(self) -> None:
        self.open()
        self.rule("opt")
        self.fill("alpha", "-40")
        self.assertEqual(self.at("slider").get_attribute("min"), "-40")
        self.ask("One")
        self.assertEqual(self.mock.seen[-1][1]["deferral_alpha"], -40)


class Link(PageTest):
    FIELDS = ("rule", "alpha", "gamma", "temperature", "exact", "limit", "seed")

    def values(self) -> list:
        return [self.at(f).get_attribute("value") for f in self.FIELDS] + [
            self.at(b).is_selected() for b in ("mode-completion", "beside", "together", "fixed")]

    def test_it_restores_the_settings_and_not_the_text(self) -> None:
        self.open()
        self.d.find_element(By.CSS_SELECTOR, "label:has(#mode-completion)").click()
        self.rule("token-v3")
        self.fill("alpha", "0.35")
        self.more()
        for id, text in (("gamma", "2"), ("temperature", "0.5"), ("exact", "3"), ("limit", "20"),
                         ("seed", "7")):
            self.fill(id, text)
        self.tick("beside")
        self.tick("together")
        self.ask("A secret text")
        self.at("share").click()
        self.until("return /Cop/.test(document.getElementById('shared').textContent)")
        link, before = self.d.current_url, self.values()
        self.assertNotIn("secret", link)
        self.assertEqual(parse_qs(urlsplit(link).fragment)["alpha"], ["0.35"])
        self.open(link.split("/")[-1])
        self.assertEqual(self.values(), before)
        self.assertEqual(self.texts(".answer"), [])
        self.assertEqual(self.at("prompt").get_attribute("value"), "")

    def test_it_restores_them_in_an_open_page_too(self) -> None:
        self.open()
        self.js("location.hash = '#rule=chow&alpha=0.75&temperature=0.25'")
        self.until("return document.getElementById('rule').value === 'chow'")
        self.assertEqual([self.at(f).get_attribute("value") for f in ("alpha", "slider", "temperature")],
                         ["0.75", "0.75", "0.25"])

    def test_what_a_field_would_refuse_is_not_taken_and_named(self) -> None:
        self.open()
        before = self.values()
        for part in ("rule=<b>x</b>", "rule=chow&alpha=7", "gamma=0", "gamma=x", "temperature=3",
                     "exact_first=-1", "max_tokens=0", "seed=9223372036854775808", "seed=-1",
                     "rule=chow&alpha=NaN"):
            self.open("#mode=chat&" + part)
            self.assertIn("Not taken from the link: " + part.split("&")[-1], self.at("shared").text)
            self.assertTrue(self.js("return document.getElementById('settings').checkValidity()"), part)
            if "chow" not in part:
                self.assertEqual(self.values(), before, part)
        self.open("#&&=&mode=%ff&mode=[]\"&x=" + "y" * 5000)
        self.assertEqual(self.values(), before)

    @needs_mock
    def test_a_link_with_text_in_it_sends_nothing(self) -> None:
        self.open("#mode=chat&prompt=Hello&text=Hello&messages=Hello")
        self.assertEqual(self.at("prompt").get_attribute("value"), "")
        self.assertEqual(self.mock.seen, [])


class Comparison(PageTest):
    def beside(self, at_once: bool) -> None:
        self.open()
        self.tick("beside")
        self.tick("together", at_once)
        self.fill("seed", "5")
        self.ask("One")

    @needs_mock
    def test_one_after_the_other_with_the_same_prompt_and_seed(self) -> None:
        self.beside(False)
        (_, a), (_, b) = self.mock.seen
        self.assertEqual((a["deferral_rule"], b["deferral_rule"]), ("exact", "token-v3"))
        self.assertEqual((a["seed"], a["messages"]), (b["seed"], b["messages"]))
        self.assertEqual(self.mock.most, 1)
        self.assertEqual(self.texts(".answer h3 span:first-child"), ["exact", "token-v3, α = 0.2"])
        self.assertNotIn("at once", self.texts(".turn > .card")[0])
        self.ask("Two")
        answer = self.texts(".answer .text")[1]
        for _, body in self.mock.seen[2:]:
            self.assertEqual(body["messages"][1]["content"], answer)

    @needs_mock
    def test_together(self) -> None:
        self.beside(True)
        self.assertEqual(self.mock.most, 2)
        self.assertIn("their times are not fair", self.texts(".turn > .card")[0])

    @needs_mock
    def test_the_first_difference_is_marked_and_both_figures_are_shown(self) -> None:
        self.beside(False)
        marked = self.js("return [...document.querySelectorAll('.text')].map(t => [...t.children].map("
                         "(s, i) => s.classList.contains('differs') ? [i, s.textContent] : null)"
                         ".filter(x => x))")
        self.assertEqual([m[0][0] for m in marked], [9, 9])
        self.assertEqual([len(m) for m in marked], [1, 1])
        self.assertEqual(marked[1][0][1], " anders")
        self.assertIn("First difference at token 10", self.texts(".verdict")[0])
        rows = self.js("return [...document.querySelectorAll('tbody tr')].map("
                       "r => [...r.cells].map(c => c.textContent))")
        self.assertEqual([r[0] for r in rows], ["tokens/s", "tokens", "verifier calls", "calls per token",
                                                "acceptance length", "verifier's mean log p"])
        for row in rows:
            for cell in row[1:]:
                self.assertRegex(cell, r"^−?[\d.]+$", row[0])
        self.js("document.querySelector('.answer .t').focus()")
        total = 0.0
        for _ in range(40):
            total += float(self.texts("#tip dd")[3].replace("−", "-"))
            self.keys(Keys.ARROW_RIGHT)
        self.assertAlmostEqual(float(rows[5][1].replace("−", "-")), total / 40, delta=6e-4)

    @needs_mock
    def test_equal_answers_are_said_to_be_equal(self) -> None:
        self.open()
        self.rule("exact")
        self.tick("beside")
        self.ask("One")
        self.assertEqual(self.texts(".verdict"), ["Both answers have the same 40 tokens."])
        self.assertEqual(self.all(".differs"), [])


if __name__ == "__main__":
    unittest.main()
