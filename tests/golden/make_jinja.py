#!/usr/bin/env python3
"""Golden texts of Jinja templates, for tests/jinja/test_jinja.c.

    python3 tests/golden/make_jinja.py        (transformers 4.57, jinja2 3.1)

The environment is the one of transformers' apply_chat_template, with its clock at 2024-07-26 09:05:07.
  jinja/cases.txt            one template per line, one construct each; ⏎ ␍ ⇥ ␋ ␣ stand for \\n \\r \\t \\v
                             U+00A0
  jinja/variables.json       their variables
  jinja/templates/*.jinja    chat templates in the shapes of published ones
  jinja/conversations.json   their conversations, without tools and documents; the third and every fifth
                             without a
                             generation prompt
are written by hand. This script writes jinja/cases.jsonl and jinja/templates/*.jsonl, one line each:
    {"text": what comes out} or {"error": the exception's message, after "line N: " if jinja2 knows the line}
  jinja/ids.jsonl            ids from apply_chat_template(tokenize=True) with the vocabularies of tokenizer/,
                             for
                             conversations without a token's name in a message
"""
import datetime
import json
import pathlib

import jinja2
from transformers import PreTrainedTokenizerFast
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


VOCABULARIES = ["tiny_qwen2", "tiny_llama3", "tiny_smollm", "tiny_deepseek", "tiny_gemma", "tiny_llama2",
                "tiny_metaspace"]
SHAPES = [  # of the tokens that those have
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "{{ bos_token }}{% for m in messages %}{{ m.role | capitalize }}: {{ m.content | trim }}{{ eos_token if "
    "m.role == 'assistant' else ' ' }}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}",
    "{%- for m in messages -%}<|begin|>{{ m.role }}<|im_start|>\n\n{{ m.content }}<|end|> {%- endfor -%}",
    "{% for m in messages %}{{ '<|' ~ ('begin' if loop.first else 'end') ~ '|>' ~ m.content }}  {% endfor %}",
]
WORDS = ["Hello", " two  blanks ", "\n\nlines\n", "Grüße 😀 我想 ", "", "it's 12345 <tool_call> WORDs",
         "\tA\u00a0 b\n", "<|im_ start|> <| end|>"]


def ids():
    for name in VOCABULARIES:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(HERE.parent / "tokenizer" / f"{name}.json"),
                                            bos_token="<|begin|>", eos_token="<|end|>",
                                            clean_up_tokenization_spaces=False)
        for template in SHAPES:
            for i in range(len(WORDS)):
                roles = ["system", "user", "assistant", "user"][i % 2:]
                messages = [{"role": role, "content": WORDS[(i + k) % len(WORDS)]}
                            for k, role in enumerate(roles)]
                got = tokenizer.apply_chat_template(messages, chat_template=template,
                                                    add_generation_prompt=True)
                yield {"tokenizer": name, "template": template, "messages": messages, "ids": got}


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
    write(HERE / "ids.jsonl", ids())
    talks = json.loads((HERE / "conversations.json").read_text())
    for path in sorted((HERE / "templates").glob("*.jinja")):
        template = path.read_text()
        given = [{"messages": talk, "tools": None, "documents": None,
                  "add_generation_prompt": i != 3 and i % 5 != 0 or i == 0, **TOKENS}
                 for i, talk in enumerate(talks)]
        write(path.with_suffix(".jsonl"), [render(template, g) for g in given])


if __name__ == "__main__":
    main()
