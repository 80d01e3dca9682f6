"""How the page looks: both widths, light and dark. Every state is read by axe-core."""
from __future__ import annotations

from pathlib import Path

import axe_playwright_python
from selenium.webdriver.common.keys import Keys

from browser import NARROW, VIEWS, WIDE, PageTest, needs_mock

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
SOURCES = ("kept", "accepted", "resampled", "bonus", "drafter", "verifier")


def luminance(colour: str) -> float:
    """Relative luminance of an rgb() colour, as WCAG 2 defines it."""
    parts = [int(x) / 255 for x in colour[colour.index("(") + 1:-1].split(",")[:3]]
    r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


class Views(PageTest):
    def check(self, state: str) -> None:
        """No sideways scroll, nothing cut off at the side, no violation."""
        width, view = self.js("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
        self.assertLessEqual(width, view, state)
        wide = self.js("""const w = document.documentElement.clientWidth;
            return [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() &&
                !e.closest(".off, .skip, dialog, svg") && (e.getBoundingClientRect().right > w + 0.5 ||
                e.getBoundingClientRect().left < -0.5)).map(e => e.tagName + "." + e.className)""")
        self.assertEqual(wide, [], state)
        self.js("if (!window.axe) {" + AXE + "\n}")
        violations = self.d.execute_async_script("""const done = arguments[0];
            axe.run({resultTypes: ["violations"]}).then(r => done(r.violations.map(v => v.id + ": " +
                v.nodes.map(n => n.target + " " + n.failureSummary).join("; "))), e => done([String(e)]))""")
        self.assertEqual(violations, [], state)

    def show(self, size: tuple[int, int], dark: bool) -> None:
        self.view(size, dark)
        self.open()

    def test_every_state_is_clean(self) -> None:
        for size, dark in VIEWS:
            with self.subTest(width=size[0], dark=dark):
                self.show(size, dark)
                self.every_state(size == NARROW)

    def every_state(self, narrow: bool) -> None:
        self.check("empty")
        if narrow:
            self.at("panel-open").click()
        self.more()
        self.check("settings")
        if narrow:
            self.at("panel-open").click()
        self.ask("Where is my hat?")
        self.check("answer")
        self.js("document.querySelector('.answer .text .t').focus()")
        self.check("token")
        self.tick("beside")
        self.ask("And my coat?")
        self.check("comparison")
        self.at("key-open").click()
        self.check("key")
        self.keys(Keys.ESCAPE)

    @needs_mock
    def test_long_words_markup_and_errors_stay_inside(self) -> None:
        for size, dark in VIEWS:
            with self.subTest(width=size[0], dark=dark):
                self.show(size, dark)
                self.ask("html " + "x" * 300)
                self.ask("refuse")
                self.check("refused")
                self.fill("prompt", "")
                self.begin("many")
                self.until("return document.querySelector('.busy .t')")
                self.check("busy")
                self.keys(Keys.ESCAPE)
                self.done()

    def test_sources_differ_in_colour_and_underline_and_can_be_read(self) -> None:
        for size, dark in VIEWS:
            with self.subTest(width=size[0], dark=dark):
                self.show(size, dark)
                self.colours()

    def colours(self) -> None:
        looks = {}
        for name in SOURCES:
            looks[name] = self.js(
                "const e = document.createElement('span'); e.className = 't s-' + arguments[0];"
                "document.getElementById('turns').append(e); const s = getComputedStyle(e);"
                "const r = [s.color, s.textDecorationLine, s.textDecorationStyle, s.textDecorationThickness];"
                "e.remove(); return r", name)
        self.assertEqual({s[1] for s in looks.values()}, {"underline"})
        self.assertEqual(len({s[0] for s in looks.values()}), 6)
        self.assertEqual(len({tuple(s[2:]) for s in looks.values()}), 6)
        grounds = self.js("""return ["--card", "--sunk", "--bg"].map(n => {
            const e = document.createElement("i"); document.body.append(e);
            e.style.background = "var(" + n + ")";
            const c = getComputedStyle(e).backgroundColor; e.remove(); return c})""")
        self.assertEqual(len(set(grounds)), 3)
        for name, (colour, *_) in looks.items():
            for ground in grounds:
                self.assertGreaterEqual(contrast(colour, ground), 4.5, (name, colour, ground))

    def test_dark_is_the_reader_s_preference_and_a_switch(self) -> None:
        for dark in (False, True):
            self.view(WIDE, dark)
            self.open()
            ground = "return getComputedStyle(document.documentElement).backgroundColor"
            self.assertEqual(luminance(self.js(ground)) < 0.2, dark)
            self.assertEqual(self.at("theme").get_attribute("aria-checked"), str(dark).lower())
            self.at("theme").send_keys(Keys.SPACE)
            self.assertEqual(luminance(self.js(ground)) < 0.2, not dark)
            self.d.refresh()
            self.assertEqual(luminance(self.js(ground)) < 0.2, not dark)
            self.at("theme").send_keys(Keys.SPACE)
            self.js("sessionStorage.clear()")

    @needs_mock
    def test_reduced_motion_stops_the_animation(self) -> None:
        for calm in (False, True):
            self.view(WIDE, False, calm)
            self.open(pause=0.1)
            self.begin("many")
            self.until("return document.querySelector('.busy .t')")
            name = self.js("const e = document.querySelector('.busy .text');"
                           "return getComputedStyle(e, '::after').animationName")
            self.assertEqual(name == "none", calm)
            self.keys(Keys.ESCAPE)
            self.done()

    def test_a_broken_policy_would_be_noticed(self) -> None:
        self.open()
        self.expect_reports = True
        self.js("const e = document.createElement('p'); e.setAttribute('style', 'color: red');"
                "document.body.append(e); const i = new Image(); i.src = '/x.png';")
        self.until("return seen.reports.length >= 2")
        refused = {r.split()[0] for r in self.js("return seen.reports")}
        self.assertEqual(refused, {"style-src-attr", "img-src"})
