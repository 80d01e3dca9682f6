"""Questions with short answers: SQuAD's layout (XQuAD too), WebQuestions, NQ-open, TriviaQA."""
from __future__ import annotations

from pathlib import Path
from typing import Iterable

from lab.errors import LabError
from lab.files import field, json_lines, json_value, texts
from lab.tasks.base import Example, Options, Task, integer, known, need_files

UNANSWERABLE = "unanswerable"  # what SQuAD 2.0's questions without an answer are scored against


def first_line(answer: str) -> str:
    return answer.strip().split("\n", 1)[0].strip()


def squad_questions(path: Path) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    """(context, question, answers) of a file in SQuAD's layout."""
    root = json_value(path)
    for a, article in enumerate(field(str(path), root, "data", list)):
        for p, paragraph in enumerate(field(f"{path}: data[{a}]", article, "paragraphs", list)):
            where = f"{path}: data[{a}].paragraphs[{p}]"
            context = field(where, paragraph, "context", str)
            for i, qa in enumerate(field(where, paragraph, "qas", list)):
                here = f"{where}.qas[{i}]"
                question = field(here, qa, "question", str)
                if qa.get("is_impossible"):
                    yield context, question, (UNANSWERABLE,)
                    continue
                answers = [field(here, x, "text", str) for x in field(here, qa, "answers", list)]
                yield context, question, tuple(dict.fromkeys(answers))


def load_squad(files: list[Path], options: Options) -> Task:
    known("squad", options)
    need_files("squad", files, 1, 1, "one JSON in SQuAD's layout")
    examples = tuple(Example(f"Context: {c}\nQuestion: {q}\nAnswer:", answers)
                     for c, q, answers in squad_questions(files[0]))
    return Task("squad", examples, ("squad_f1", "squad_em"), integer(options, "max_tokens", 30, 1),
                tuple(files), stop=("\n",), clean=first_line, options=dict(options))


def closed_book(name: str, files: list[Path], options: Options,
                pairs: list[tuple[str, tuple[str, ...]]]) -> Task:
    """Questions without a text to look in. shots: the first ones are shown with an answer and not tested."""
    shots = integer(options, "shots", 5, 0, 64)
    if shots >= len(pairs):
        raise LabError(f"{files[0]}: {len(pairs)} questions, but {shots} shots are wanted before the first "
                       "test")
    head = "".join(f"Q: {q}\nA: {a[0]}\n\n" for q, a in pairs[:shots])
    examples = tuple(Example(f"{head}Q: {q}\nA:", a) for q, a in pairs[shots:])
    return Task(name, examples, ("squad_em", "squad_f1"), integer(options, "max_tokens", 16, 1), tuple(files),
                stop=("\n",), clean=first_line, options=dict(options))


def load_webquestions(files: list[Path], options: Options) -> Task:
    """A JSON list of {qText, answers}."""
    known("webquestions", options, "shots")
    need_files("webquestions", files, 1, 1, "one JSON")
    records = json_value(files[0])
    if not isinstance(records, list):
        raise LabError(f"{files[0]}: expected a JSON list, got {type(records).__name__}")
    pairs = []
    for i, record in enumerate(records):
        where = f"{files[0]}: [{i}]"
        pairs.append((field(where, record, "qText", str), texts(where, record, "answers")))
    return closed_book("webquestions", files, options, pairs)


def load_nq_open(files: list[Path], options: Options) -> Task:
    known("nq-open", options, "shots")
    need_files("nq-open", files, 1, 1, "one JSONL")
    pairs = [(field(where, r, "question", str), texts(where, r, "answer"))
             for where, r in json_lines(files[0])]
    return closed_book("nq-open", files, options, pairs)


def load_triviaqa(files: list[Path], options: Options) -> Task:
    """The release's JSON: Data[].Question, Data[].Answer.{Value, Aliases}."""
    known("triviaqa", options, "shots")
    need_files("triviaqa", files, 1, 1, "one JSON")
    pairs = []
    for i, record in enumerate(field(str(files[0]), json_value(files[0]), "Data", list)):
        where = f"{files[0]}: Data[{i}]"
        answer = field(where, record, "Answer", dict)
        aliases = texts(where, answer, "Aliases") if answer.get("Aliases") else ()
        pairs.append((field(where, record, "Question", str),
                      tuple(dict.fromkeys((field(where, answer, "Value", str), *aliases)))))
    return closed_book("triviaqa", files, options, pairs)
