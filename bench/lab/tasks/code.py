"""Programs: MBPP and HumanEval, pass@1 by running the tests that the releases carry."""
from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from lab.errors import LabError
from lab.files import field, json_lines, texts
from lab.tasks.base import Example, Options, Task, integer, known, need_files

SHOTS = (2, 3, 4)            # task_id of the three shots that the MBPP paper prompts with
TEST_SPLIT = range(11, 511)  # task_id of its test set


BLOCK = re.compile(r"```(\w*)[ \t]*\r?\n(.*?)(?:```|\Z)", re.DOTALL)


def plain(answer: str) -> str:
    """An answer without the fences that chat models put around code: its last block marked as Python, else
    its last block. A single bare fence after other text closes what a prompt had opened."""
    if answer.count("```") == 1 and answer.split("```")[0].strip() and not re.search(r"```\w", answer):
        return answer.split("```")[0].rstrip()
    blocks = BLOCK.findall(answer)
    marked = [code for language, code in blocks if language.lower() in ("python", "python3", "py")]
    text = (marked or [code for _, code in blocks] or [answer])[-1]
    return text.split("```")[0].rstrip()


def mbpp_prompt(task: dict, code: str | None) -> str:
    """The prompt of Austin et al. 2021 (Program Synthesis with Large Language Models). code None: open."""
    tests = "\n".join(task["test_list"])
    head = (f"You are an expert Python programmer, and here is your task: {task['text']} "
            f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n")
    return head if code is None else f"{head}{code}\n[DONE]\n"


def mbpp_program(setup: str, tests: tuple[str, ...], answer: str) -> str:
    return "\n".join([setup, plain(answer), *tests, ""])


def load_mbpp(files: list[Path], options: Options) -> Task:
    """The release's JSONL: the shots are its tasks 2, 3 and 4, tested are those of the test split."""
    known("mbpp", options, "shots")
    need_files("mbpp", files, 1, 1, "one JSONL")
    shots, shown, tested = integer(options, "shots", 3, 0, 3), {}, []
    for where, record in json_lines(files[0]):
        for key, kind in (("text", str), ("code", str), ("task_id", int)):
            field(where, record, key, kind)
        texts(where, record, "test_list")
        if record["task_id"] in SHOTS:
            shown[record["task_id"]] = mbpp_prompt(record, record["code"].replace("\r\n", "\n"))
        elif record["task_id"] in TEST_SPLIT:
            tested.append(record)
    missing = [i for i in SHOTS[:shots] if i not in shown]
    if missing:
        raise LabError(f"{files[0]}: task {missing[0]} is missing; it is one of the prompt's shots")
    head = "\n".join(shown[i] for i in SHOTS[:shots])
    examples = tuple(
        Example(f"{head}\n{mbpp_prompt(r, None)}" if shots else mbpp_prompt(r, None),
                test=partial(mbpp_program, str(r.get("test_setup_code") or ""), tuple(r["test_list"])))
        for r in tested)
    return Task("mbpp", examples, ("pass",), integer(options, "max_tokens", 320, 1), tuple(files),
                stop=("[DONE]", "[BEGIN]"), clean=str, options=dict(options))


def humaneval_program(prompt: str, test: str, entry: str, answer: str) -> str:
    return f"{prompt}{answer}\n\n{test}\n\ncheck({entry})\n"


def load_humaneval(files: list[Path], options: Options) -> Task:
    """The release's JSONL. The prompt is the function's head; an answer ends before the next thing at column
    0."""
    known("humaneval", options)
    need_files("humaneval", files, 1, 1, "one JSONL")
    examples = []
    for where, record in json_lines(files[0]):
        prompt, test, entry = (field(where, record, key, str) for key in ("prompt", "test", "entry_point"))
        if f"def {entry}" not in prompt:
            raise LabError(f'{where}: "prompt" does not define "{entry}"')
        examples.append(Example(prompt, test=partial(humaneval_program, prompt, test, entry)))
    return Task("humaneval", tuple(examples), ("pass",), integer(options, "max_tokens", 320, 1), tuple(files),
                stop=("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint("), clean=str, options=dict(options))
