"""The page by keys, by a screen reader and by a pointer; the server's key; text that could be markup."""
from __future__ import annotations

import re
import time
import unittest

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from browser import PageTest, needs_mock
from mock import PAGE


class ByKeys(PageTest):
    def at_the_start(self) -> None:
        """The next Tab goes to the first element of the page."""
        self.js("const b = document.body; b.tabIndex = -1; b.focus(); b.removeAttribute('tabindex')")

    def test_tab_reaches_everything_and_shows_where_it_is(self) -> None:
        self.open()
        self.rule("token-v3")
        self.ask("One")
        self.more()
        self.at("beside").click()
        self.at_the_start()
        seen, hidden = [], []
        for _ in range(60):
            self.keys(Keys.TAB)
            where = self.js("const e = document.activeElement; return e.id || e.className || e.tagName")
            if where in seen[:1]:
                break
            seen.append(where)
            hidden += self.js(
                "const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();"
                "const p = getComputedStyle(e.closest('.choice label, .box') ?? e);"
                "const shown = [s, p].some(x => x.outlineStyle !== 'none' && parseFloat(x.outlineWidth) >= 2 "
                "|| x.boxShadow !== 'none');"
                "const seen = shown && r.top >= 0 && r.bottom <= innerHeight + 1;"
                "return e !== document.body && !seen ? [e.id] : []")
        self.assertEqual(hidden, [])
        mode = self.js("return document.querySelector('input[name=mode]:checked').id")
        for id in ("skip", "theme", "key-open", mode, "beside", "together", "again", "prompt", "send",
                   "rule", "alpha", "slider", "seed", "fixed", "gamma", "temperature", "exact", "limit",
                   "share", "paint"):
            self.assertIn(id, seen)
        self.assertEqual(sum("s-" in s or s == "t" for s in seen), 1, "an answer is one stop")

    def test_a_prompt_without_a_mouse(self) -> None:
        self.open()
        self.at_the_start()
        self.keys(Keys.TAB)
        self.assertEqual(self.focused(), "skip")
        self.keys(Keys.ENTER)
        self.assertEqual(self.focused(), "prompt")
        self.keys("One")
        ActionChains(self.d).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
        self.keys("more")
        self.assertEqual(self.at("prompt").get_attribute("value"), "One\nmore")
        self.keys(Keys.TAB)
        self.assertEqual(self.focused(), "send")
        self.keys(Keys.ENTER)
        self.until("return document.querySelector('.text .t')")
        self.done()
        self.assertEqual(self.focused(), "prompt")

    def test_slider_and_rule_move_by_keys(self) -> None:
        self.open()
        self.rule("token-v3")
        before = float(self.at("alpha").get_attribute("value"))
        self.at("slider").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        self.assertAlmostEqual(float(self.at("alpha").get_attribute("value")), before + 0.02)
        self.at("slider").send_keys(Keys.HOME)
        self.assertEqual(float(self.at("alpha").get_attribute("value")), -1)
        self.at("rule").send_keys("ch")
        self.assertEqual(self.at("rule").get_attribute("value"), "chow")
        self.assertIn("alpha=0.5", self.d.current_url)

    def facts(self) -> list[str]:
        self.assertTrue(self.at("tip").is_displayed())
        return self.texts("#tip dd")

    @needs_mock
    def test_arrows_go_through_the_tokens_and_show_their_facts(self) -> None:
        self.open()
        self.ask("One")
        self.js("document.querySelector('.answer .t').focus()")
        piece, id, source, p, pi = self.facts()
        self.assertEqual((id, piece), ("100", f'"{self.texts(".t")[0]}"'))
        self.assertIn(source, ("kept", "accepted", "resampled", "bonus"))
        self.assertRegex(p + pi, r"^−\d\.\d{4}−\d\.\d{4}$")
        self.assertEqual(self.js("return document.activeElement.getAttribute('aria-describedby')"), "tip")
        self.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
        self.assertEqual(self.facts()[1], "101")
        self.keys(Keys.END)
        self.assertEqual(self.facts()[1], "139")
        self.keys(Keys.ESCAPE)
        self.assertFalse(self.at("tip").is_displayed())
        self.assertEqual(len(self.all(".t[tabindex='0']")), 1)

    @needs_mock
    def test_the_pointer_shows_them_too(self) -> None:
        self.open()
        self.ask("One")
        ActionChains(self.d).move_to_element(self.all(".text .t")[3]).perform()
        self.until("return !document.getElementById('tip').hidden")
        self.assertEqual(self.facts()[1], "103")
        ActionChains(self.d).move_to_element(self.at("tip")).perform()
        time.sleep(0.3)  # longer than the page waits before it hides a tip that was left
        self.assertTrue(self.at("tip").is_displayed())
        ActionChains(self.d).move_to_element(self.at("prompt")).perform()
        self.until("return document.getElementById('tip').hidden")


class ReadAloud(PageTest):
    @needs_mock
    def test_the_live_region_has_all_of_it_and_changes_once_a_second_at_most(self) -> None:
        self.open(pause=0.4)
        text = self.ask("One more")
        self.until("return seen.live.some(x => /tokens,/.test(x[1]))")
        live = self.js("return seen.live")
        self.assertGreater(len(live), 2)
        gaps = [b[0] - a[0] for a, b in zip(live, live[1:])]
        self.assertGreater(min(gaps), 900, gaps)  # timers may come some milliseconds early after a late one
        said = " ".join(x[1] for x in live)
        self.assertTrue(re.sub(r"\s", "", said).startswith(re.sub(r"\s", "", text)), (said, text))
        self.assertIn("Answer complete: 40 tokens", said)


class Key(PageTest):
    @needs_mock
    def test_it_is_asked_for_and_stays_in_the_tab(self) -> None:
        self.open(wait=False, key="s3cret-key")
        self.until("return document.getElementById('key').open")
        self.assertEqual(self.at("key-why").text, "This server needs an API key.")
        self.assertEqual(self.focused(), "key-text")
        self.keys("wrong", Keys.ENTER)
        self.until("return /does not accept/.test(document.getElementById('key-why').textContent)")
        self.assertTrue(self.js("return document.getElementById('key').open"))
        self.fill("key-text", "bäd key")
        self.keys(Keys.ENTER)
        self.assertTrue(self.js("return document.getElementById('key').open"))
        self.fill("key-text", "s3cret-key")
        self.keys(Keys.ENTER)
        self.until("return !document.getElementById('send').disabled")
        self.ask("One")
        self.assertEqual(len(self.mock.seen), 1)
        stored = self.js("return [sessionStorage, localStorage].map(Object.values).concat(document.cookie)")
        self.assertEqual(stored, [["s3cret-key"], [], ""])
        self.assertNotIn("s3cret", self.d.current_url)
        self.at("key-open").click()
        self.keys(Keys.ESCAPE)
        self.assertFalse(self.js("return document.getElementById('key').open"))

    @needs_mock
    def test_a_server_that_loads_is_waited_for(self) -> None:
        self.open(wait=False, loads=2)
        self.until("return document.getElementById('about').textContent.includes('being loaded')")
        self.assertFalse(self.at("send").is_enabled())
        self.until("return !document.getElementById('send').disabled")
        self.assertEqual(self.at("about").text, "demo · verifier 61 M · drafter 16 M")

    @needs_mock
    def test_a_server_that_is_gone_is_said_to_be_gone(self) -> None:
        self.open()
        self.mock.die()
        self.mock = None
        self.ask("One")
        self.assertIn("cannot be reached", self.texts(".answer .bad")[0])
        self.assertEqual(self.at("prompt").get_attribute("value"), "One")

    @needs_mock
    def test_a_server_that_goes_midway_leaves_what_it_wrote(self) -> None:
        self.open(pause=0.1)
        self.begin("many")
        self.until("return document.querySelectorAll('.text .t').length > 3")
        self.mock.die()
        self.mock = None
        self.done()
        self.assertRegex(self.texts(".answer .bad")[0], "^The (connection closed|server cannot be reached)")
        self.assertTrue(self.texts(".answer .text")[0])


class Source(unittest.TestCase):
    def test_no_way_from_text_to_markup_and_no_other_origin(self) -> None:
        text = PAGE.read_text(encoding="utf-8")
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                     "new Function", "srcdoc", "DOMParser", "createContextualFragment", " style=",
                     " onclick=", "localStorage", "import(", "WebSocket"):
            self.assertNotIn(sink, text)
        self.assertEqual(re.findall(r"https?://[^'\" ]+", text), ["http://www.w3.org/2000/svg"])


if __name__ == "__main__":
    unittest.main()
