"""litellm, langchain-openai and llm: what they add to a request is accepted, and their answers are those of
the command line."""
import os
import sys
import tempfile
import unittest
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else litellm downloads a price list when it is imported

import litellm
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import SecretStr

from fixture import DecoderTest, ServerTest, run
from server import DEMO, generate

SENTENCES = ["Where is my hat?", "I am tired.", "He said that he would not come."]
CHAT = [*DEMO, "--chat-template", "plain"]


def written(text, **fields):
    return generate(CHAT, [{"messages": [{"role": "user", "content": text}], **fields}])[0]["text"]


class LiteLLM(ServerTest):
    def ask(self, text, **fields):
        return litellm.completion(model="openai/demo",
                                  api_base=self.v1,
                                  api_key="none",
                                  num_retries=0,
                                  messages=[{"role": "user", "content": text}],
                                  **fields)

    def test_chat(self):
        for sentence in SENTENCES:
            got = self.ask(sentence, seed=3)
            self.assertEqual(got.choices[0].message.content, written(sentence, seed=3))
            self.assertEqual(got.usage.total_tokens, got.usage.prompt_tokens + got.usage.completion_tokens)

    def test_stream(self):
        chunks = list(self.ask(SENTENCES[0], seed=3, stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
                         written(SENTENCES[0], seed=3))
        self.assertEqual(litellm.stream_chunk_builder(chunks).choices[0].finish_reason, "stop")

    def test_text_completion(self):
        got = litellm.text_completion(model="text-completion-openai/demo",
                                      api_base=self.v1,
                                      api_key="none",
                                      prompt=SENTENCES[1],
                                      temperature=0,
                                      max_tokens=20)
        self.assertEqual(got.choices[0].text,
                         generate(DEMO, [{"prompt": SENTENCES[1], "temperature": 0}])[0]["text"])

    def test_errors_keep_their_kind(self):
        with self.assertRaises(litellm.BadRequestError):
            self.ask("Hello", temperature=3)
        with self.assertRaises(litellm.ContextWindowExceededError):
            self.ask("word " * 1000)


class LangChain(ServerTest):
    def model(self, **fields):
        return ChatOpenAI(model="demo",
                          base_url=self.v1,
                          api_key=SecretStr("none"),
                          max_retries=0,
                          seed=5,
                          **fields)

    def test_chat(self):
        for sentence in SENTENCES:
            got = self.model().invoke([HumanMessage(sentence)])
            self.assertEqual(got.content, written(sentence, seed=5))
            self.assertEqual(got.usage_metadata["total_tokens"],
                             got.usage_metadata["input_tokens"] + got.usage_metadata["output_tokens"])

    def test_stream(self):
        chunks = list(self.model(stream_usage=True).stream(SENTENCES[0]))
        self.assertEqual("".join(c.content for c in chunks), written(SENTENCES[0], seed=5))
        self.assertTrue(any(c.usage_metadata for c in chunks))

    def test_batch(self):
        got = self.model(temperature=0).batch(SENTENCES * 4)
        self.assertEqual([m.content for m in got], [written(s, temperature=0) for s in SENTENCES] * 4)

    def test_text(self):
        model = OpenAI(model="demo",
                       base_url=self.v1,
                       api_key=SecretStr("none"),
                       max_retries=0,
                       seed=5,
                       temperature=1,
                       max_tokens=40)
        want, = generate(DEMO, [{"prompt": SENTENCES[2], "seed": 5, "max_tokens": 40}])
        self.assertEqual(model.invoke(SENTENCES[2]), want["text"])


class Conversation(DecoderTest):
    """With a template that has all roles."""
    def test_langchain(self):
        talk = [
            SystemMessage("Be brief."),
            HumanMessage(SENTENCES[0]),
            AIMessage("Wo?"),
            HumanMessage(SENTENCES[1])
        ]
        roles = {"system": "system", "human": "user", "ai": "assistant"}
        want, = generate(self.MODELS, [{
            "messages": [{"role": roles[m.type], "content": m.content}
                         for m in talk], "seed": 5, "max_tokens": 30
        }])
        model = ChatOpenAI(model="made",
                           base_url=self.v1,
                           api_key=SecretStr("none"),
                           max_retries=0,
                           seed=5,
                           max_tokens=30)
        self.assertEqual(model.invoke(talk).content, want["text"])


class LLM(ServerTest):
    """The program llm, with the server as one of its extra models."""
    def ask(self, *arguments):
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "extra-openai-models.yaml").write_text(
                f"- model_id: weir\n  model_name: demo\n  api_base: {self.v1}\n  api_key_name: none\n"
                f"- model_id: weir-text\n  model_name: demo\n  api_base: {self.v1}\n  api_key_name: none\n"
                "  completion: true\n")
            return run([Path(sys.executable).parent / "llm", *arguments],
                       env={"LLM_USER_PATH": name, "OPENAI_API_KEY": "none"})

    def test_prompt(self):
        want = written(SENTENCES[0], temperature=0)
        for flags in ((), ("--no-stream", )):
            self.assertEqual(
                self.ask("-m", "weir", "-o", "temperature", "0", *flags, SENTENCES[0]).strip(), want)

    def test_text(self):
        want, = generate(DEMO, [{"prompt": SENTENCES[1], "temperature": 0}])
        got = self.ask("-m", "weir-text", "-o", "temperature", "0", "-o", "max_tokens", "20", SENTENCES[1])
        self.assertEqual(got.strip(), want["text"])


if __name__ == "__main__":
    unittest.main()
