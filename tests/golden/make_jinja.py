#!/usr/bin/env python3
"""Golden texts of Jinja templates, for tests/host/jinja/test_jinja.c.

    python3 tests/golden/make_jinja.py        (transformers 4.57, jinja2 3.1)

What renders is the environment that transformers' apply_chat_template makes, with its clock at 2024-07-26 09:05:07.
  jinja/cases.txt            one template a line, a construct each; ⏎ ␍ ⇥ ␋ ␣ stand for \\n \\r \\t \\v U+00A0
  jinja/variables.json       what they are given
  jinja/templates/*.jinja    chat templates in the shapes that models are published with
  jinja/conversations.json   what those are given: each without tools and documents, the third and every fifth without a generation prompt
are written by hand; jinja/cases.jsonl and jinja/templates/*.jsonl are written here, a line each:
    {"text": what comes out} or {"error": the exception's words, after "line N: " where jinja2 knows the line}
"""
import datetime
import json
import pathlib

import jinja2
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).resolve().parent / "jinja"
WRITTEN_AS = {"⏎": "\n", "␍": "\r", "⇥": "\t", "␋": "\v", "␣": "\u00a0"}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


class Stopped(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2024, 7, 26, 9, 5, 7)


def render(template, variables):
    try:
        return {"text": chat_template_utils._compile_jinja_template(template).render(**variables)}
    except jinja2.exceptions.TemplateSyntaxError as e:
        return {"error": f"line {e.lineno}: {e.message}"}
    except Exception as e:
        return {"error": str(e)}


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def main():
    chat_template_utils.datetime = Stopped
    variables = json.loads((HERE / "variables.json").read_text())
    rows = []
    for line in (HERE / "cases.txt").read_text().split("\n")[:-1]:
        for sign, char in WRITTEN_AS.items():
            line = line.replace(sign, char)
        rows.append(render(line, variables))
    write(HERE / "cases.jsonl", rows)
    talks = json.loads((HERE / "conversations.json").read_text())
    for path in sorted((HERE / "templates").glob("*.jinja")):
        template = path.read_text()
        given = [{"messages": talk, "tools": None, "documents": None, "add_generation_prompt": i != 3 and i % 5 != 0 or i == 0, **TOKENS}
                 for i, talk in enumerate(talks)]
        write(path.with_suffix(".jsonl"), [render(template, g) for g in given])


if __name__ == "__main__":
    main()
