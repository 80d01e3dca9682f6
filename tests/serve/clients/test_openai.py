"""The openai package against the demo pair: each answer is the command line's."""
import asyncio
import unittest

import httpx
import openai

from fixture import ServerTest
from server import DEMO, Server, generate

CHAT = [*DEMO, "--chat-template", "plain"]
SENTENCES = [
    "Where is my hat?", "I am tired.", "Do you know where the station is?", "Ça va? 帽子 🙂",
    "The weather is nice today, so we will walk.", "He said that he would not come."
]


class OpenAI(ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=cls.v1, api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        super().tearDownClass()

    def complete(self, prompt, **fields):
        return self.client.completions.create(model="demo", prompt=prompt, **fields)

    def chat(self, text, **fields):
        return self.client.chat.completions.create(model="demo",
                                                   messages=[{"role": "user", "content": text}],
                                                   **fields)


class Models(OpenAI):
    def test_lists_the_pair_and_its_virtual_models(self):
        ids = [m.id for m in self.client.models.list()]
        self.assertEqual(ids, ["demo", "demo:exact", "demo:verifier", "demo:drafter"])

    def test_retrieves_one(self):
        model = self.client.models.retrieve("demo:drafter")
        self.assertEqual((model.id, model.object), ("demo:drafter", "model"))
        with self.assertRaises(openai.NotFoundError) as failed:
            self.client.models.retrieve("demo:none")
        self.assertEqual(failed.exception.code, "model_not_found")

    def test_a_virtual_model_chooses_the_method(self):
        for name, method in (("verifier", "verifier"), ("drafter", "drafter"), ("exact", "speculative")):
            want, = generate(DEMO, [{"prompt": SENTENCES[0], "seed": 5, "max_tokens": 24}], "--method",
                             method)
            got = self.client.completions.create(model=f"demo:{name}",
                                                 prompt=SENTENCES[0],
                                                 seed=5,
                                                 max_tokens=24)
            self.assertEqual(got.choices[0].text, want["text"])


class Completions(OpenAI):
    def test_is_the_command_lines_answer(self):
        for fields in ({"temperature": 0}, {"seed": 7}, {"seed": 8, "temperature": 0.7, "top_p": 0.9}):
            want = generate(DEMO, [{"prompt": s, "max_tokens": 40, **fields} for s in SENTENCES])
            for sentence, w in zip(SENTENCES, want):
                got = self.complete(sentence, max_tokens=40, **fields)
                self.assertEqual(got.choices[0].text, w["text"])
                self.assertEqual(got.choices[0].finish_reason, w["finish_reason"])
                self.assertEqual(got.usage.prompt_tokens, w["usage"]["prompt_tokens"])
                end = w["finish_reason"] == "stop"  # end-of-text counts, as elsewhere
                self.assertEqual(got.usage.completion_tokens, len(w["token_ids"]) + end)
                self.assertEqual(got.usage.total_tokens,
                                 got.usage.prompt_tokens + got.usage.completion_tokens)
                self.assertTrue(got.id.startswith("cmpl-"))

    def test_takes_a_rule_with_a_request(self):
        law = {"deferral_rule": "token-v3", "deferral_alpha": 0.5, "num_speculative_tokens": 3}
        want, = generate(DEMO, [{
            "prompt": SENTENCES[2], "seed": 3, "max_tokens": 40, "deferral_rule": "token-v3",
            "deferral_alpha": 0.5
        }], "--gamma", "3")
        got = self.complete(SENTENCES[2],
                            seed=3,
                            max_tokens=40,
                            extra_body={**law, "return_token_ids": True, "return_sources": True})
        choice = got.choices[0]
        self.assertEqual(choice.text, want["text"])
        n = len(want["token_ids"])  # the end-of-text token follows
        self.assertEqual(choice.model_extra["token_ids"][:n], want["token_ids"])
        self.assertEqual(choice.model_extra["sources"][:n], want["sources"])
        self.assertEqual([len(choice.model_extra[x]) for x in ("token_ids", "sources")],
                         [got.usage.completion_tokens] * 2)
        about = choice.model_extra["weir"]
        self.assertEqual((about["rule"], about["alpha"], about["gamma"], about["seed"]),
                         ("token-v3", 0.5, 3, 3))

    def test_answers_lists_in_order(self):
        got = self.complete(SENTENCES, n=2, seed=11, max_tokens=24)
        self.assertEqual([c.index for c in got.choices], list(range(2 * len(SENTENCES))))
        want = generate(DEMO, [{"prompt": s, "seed": 11, "max_tokens": 24} for s in SENTENCES])
        self.assertEqual([c.text for c in got.choices[::2]], [w["text"] for w in want])

    def test_takes_ids_for_a_prompt(self):
        ids = httpx.post(self.url + "/tokenize", json={"content": SENTENCES[0],
                                                       "add_special": True}).json()["tokens"]
        self.assertEqual(
            self.complete(ids, temperature=0).choices[0].text,
            self.complete(SENTENCES[0], temperature=0).choices[0].text)

    def test_streams_the_same_text(self):
        for sentence in SENTENCES:
            whole = self.complete(sentence, seed=2, max_tokens=40)
            chunks = list(
                self.complete(sentence,
                              seed=2,
                              max_tokens=40,
                              stream=True,
                              stream_options={"include_usage": True}))
            self.assertEqual("".join(c.choices[0].text for c in chunks if c.choices), whole.choices[0].text)
            reasons = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
            self.assertEqual(reasons, [whole.choices[0].finish_reason])
            self.assertEqual(chunks[-1].choices, [])
            self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)
            self.assertTrue(all(c.usage is None for c in chunks[:-1]))

    def test_ends_at_a_stop_text(self):
        whole = self.complete(SENTENCES[4], temperature=0, max_tokens=40).choices[0].text
        stop = whole[4:7]
        cut = self.complete(SENTENCES[4], temperature=0, max_tokens=40, stop=["never", stop]).choices[0]
        self.assertEqual(cut.text, whole[:whole.index(stop)])
        self.assertEqual((cut.finish_reason, cut.model_extra["stop_reason"]), ("stop", stop))

    def test_has_log_probabilities(self):
        want, = generate(DEMO, [{"prompt": SENTENCES[0], "seed": 7, "max_tokens": 40}])
        got = self.complete(SENTENCES[0], seed=7, max_tokens=40, logprobs=3)
        logprobs = got.choices[0].logprobs
        n = got.usage.completion_tokens
        self.assertEqual([
            len(x)
            for x in (logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, logprobs.text_offset)
        ], [n] * 4)
        self.assertEqual(logprobs.token_logprobs[:len(want["logprobs"])], want["logprobs"])
        for token, value, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs):
            self.assertEqual(top.get(token, value), value)
            self.assertGreaterEqual(max(top.values()), value)

    def test_shows_raw_responses(self):
        raw = self.client.completions.with_raw_response.create(model="demo",
                                                               prompt=SENTENCES[1],
                                                               temperature=0,
                                                               extra_headers={"X-Request-Id": "mine-1"})
        self.assertEqual(raw.headers["x-request-id"], "mine-1")
        self.assertEqual(raw.headers["content-type"], "application/json")
        self.assertEqual(raw.parse().choices[0].text,
                         self.complete(SENTENCES[1], temperature=0).choices[0].text)

    def test_raw_responses_of_streams(self):
        with self.client.completions.with_streaming_response.create(model="demo",
                                                                    prompt=SENTENCES[1],
                                                                    temperature=0,
                                                                    stream=True) as raw:
            self.assertEqual(raw.headers["x-accel-buffering"], "no")
            self.assertEqual(raw.headers["cache-control"], "no-store")
            self.assertIn("text/event-stream", raw.headers["content-type"])
            lines = [line for line in raw.iter_lines() if line]
        self.assertTrue(all(line.startswith("data: ") for line in lines))
        self.assertEqual(lines[-1], "data: [DONE]")


class Chat(OpenAI):
    def test_is_the_command_lines_answer(self):
        want = generate(CHAT, [{"messages": [{"role": "user", "content": s}], "seed": 4} for s in SENTENCES])
        for sentence, w in zip(SENTENCES, want):
            got = self.chat(sentence, seed=4)
            self.assertEqual(got.choices[0].message.content, w["text"])
            self.assertEqual(got.choices[0].message.role, "assistant")
            self.assertEqual(got.choices[0].finish_reason, "stop")
            self.assertTrue(got.id.startswith("chatcmpl-"))

    def test_takes_parts_of_text(self):
        parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "my hat?"}]
        got = self.client.chat.completions.create(model="demo",
                                                  messages=[{"role": "user", "content": parts}],
                                                  temperature=0)
        self.assertEqual(got.choices[0].message.content,
                         self.chat(SENTENCES[0], temperature=0).choices[0].message.content)

    def test_streams_the_same_text(self):
        whole = self.chat(SENTENCES[4], seed=9)
        chunks = list(self.chat(SENTENCES[4], seed=9, stream=True))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks),
                         whole.choices[0].message.content)
        self.assertEqual([c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason], ["stop"])

    def test_streams_n_choices(self):
        whole = self.chat(SENTENCES[4], seed=9, n=3, temperature=1.5, max_completion_tokens=20)
        texts, ends = ["", "", ""], [None, None, None]
        for chunk in self.chat(SENTENCES[4],
                               seed=9,
                               n=3,
                               temperature=1.5,
                               max_completion_tokens=20,
                               stream=True):
            for choice in chunk.choices:
                self.assertIsNone(ends[choice.index])
                texts[choice.index] += choice.delta.content or ""
                ends[choice.index] = choice.finish_reason
        self.assertEqual(texts, [c.message.content for c in whole.choices])
        self.assertEqual(ends, [c.finish_reason for c in whole.choices])

    def test_the_packages_stream_helper(self):
        whole = self.chat(SENTENCES[2], seed=1)
        with self.client.chat.completions.stream(model="demo",
                                                 seed=1,
                                                 messages=[{"role": "user",
                                                            "content": SENTENCES[2]}]) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertLessEqual({"chunk", "content.delta", "content.done"}, kinds)
        self.assertEqual(final.choices[0].message.content, whole.choices[0].message.content)

    def test_has_log_probabilities(self):
        got = self.chat(SENTENCES[0], seed=7, logprobs=True, top_logprobs=2)
        content = got.choices[0].logprobs.content
        self.assertEqual(len(content), got.usage.completion_tokens)
        self.assertTrue(all(len(token.top_logprobs) == 2 for token in content))
        self.assertTrue(all(token.logprob <= token.top_logprobs[0].logprob for token in content))
        text = b"".join(bytes(token.bytes or []) for token in content).decode()
        self.assertIn(got.choices[0].message.content, text)

    def test_accepts_what_clients_send_by_default(self):
        plain = self.chat(SENTENCES[1], seed=1).choices[0].message.content
        got = self.chat(SENTENCES[1],
                        seed=1,
                        frequency_penalty=0,
                        presence_penalty=0,
                        logit_bias={},
                        tools=[],
                        tool_choice="none",
                        response_format={"type": "text"},
                        user="someone",
                        store=False,
                        metadata={"a": "b"},
                        service_tier="auto",
                        parallel_tool_calls=True)
        self.assertEqual(got.choices[0].message.content, plain)


class Async(OpenAI):
    def gather(self, make, items):
        async def all_at_once():
            async with openai.AsyncOpenAI(base_url=self.v1, api_key="none", max_retries=0) as client:
                return await asyncio.gather(*(make(client, item) for item in items))

        return asyncio.run(all_at_once())

    def test_many_at_once_are_as_one_by_one(self):
        async def one(client, seed):
            got = await client.completions.create(model="demo",
                                                  prompt=SENTENCES[seed % 6],
                                                  seed=seed,
                                                  max_tokens=32)
            return got.choices[0].text

        want = generate(DEMO, [{"prompt": SENTENCES[s % 6], "seed": s, "max_tokens": 32} for s in range(48)])
        self.assertEqual(self.gather(one, range(48)), [w["text"] for w in want])

    def test_many_streams_at_once(self):
        async def one(client, seed):
            stream = await client.chat.completions.create(
                model="demo",
                seed=seed,
                stream=True,
                max_completion_tokens=32,
                messages=[{"role": "user", "content": SENTENCES[seed % 6]}])
            return "".join([c.choices[0].delta.content or "" async for c in stream])

        want = generate(
            CHAT, [{"messages": [{"role": "user", "content": SENTENCES[s % 6]}], "seed": s, "max_tokens": 32}
                   for s in range(48)])
        self.assertEqual(self.gather(one, range(48)), [w["text"] for w in want])


class Errors(OpenAI):
    def refused(self, kind, code, param=None, **fields):
        with self.assertRaises(kind) as failed:
            self.complete(fields.pop("prompt", "Hello"), **fields)
        error = failed.exception
        self.assertEqual((error.code, error.param), (code, param), error.message)
        return error

    def test_values_out_of_range(self):
        error = self.refused(openai.BadRequestError, "invalid_value", "temperature", temperature=3)
        self.assertEqual((error.status_code, error.type), (400, "invalid_request_error"))
        self.assertIn("0 to 2", error.message)
        self.refused(openai.BadRequestError, "invalid_value", "n", n=65)
        self.refused(openai.BadRequestError, "invalid_value", "top_p", extra_body={"top_p": "much"})

    def test_fields_without_support(self):
        self.refused(openai.BadRequestError,
                     "unsupported_parameter",
                     "frequency_penalty",
                     frequency_penalty=1)
        self.refused(openai.BadRequestError, "unsupported_parameter", "logit_bias", logit_bias={"1": 5})
        with self.assertRaises(openai.BadRequestError) as failed:
            tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
            self.chat("Hello", tools=[tool])
        self.assertEqual((failed.exception.code, failed.exception.param), ("unsupported_parameter", "tools"))

    def test_a_slip_in_a_name(self):
        with self.assertRaises(openai.BadRequestError) as failed:
            self.complete("Hello", extra_body={"temprature": 0})
        self.assertIn("temperature", failed.exception.message)

    def test_too_long(self):
        self.refused(openai.BadRequestError, "context_length_exceeded", "prompt", prompt="word " * 1000)

    def test_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as failed:
            self.client.completions.create(model="gpt", prompt="Hello")
        self.assertEqual(failed.exception.code, "model_not_found")

    def test_what_is_not_served(self):
        with self.assertRaises(openai.NotFoundError) as failed:
            self.client.embeddings.create(model="demo", input="Hello")
        self.assertEqual(failed.exception.status_code, 404)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.create(model="demo", input="Hello")


class Keys(OpenAI):
    ENV = {"WEIR_API_KEY": "sesame,second"}

    def test_right_and_wrong(self):
        for key in ("sesame", "second"):
            with openai.OpenAI(base_url=self.v1, api_key=key, max_retries=0) as client:
                self.assertEqual(len(list(client.models.list())), 4)
        for key in ("sesam", "sesame,second", "sesame2"):
            with openai.OpenAI(base_url=self.v1, api_key=key, max_retries=0) as client:
                with self.assertRaises(openai.AuthenticationError) as failed:
                    client.completions.create(model="demo", prompt="Hello")
                self.assertEqual(failed.exception.code, "invalid_api_key")


def counter(url, name):
    """A metric's value; labels as written, in name."""
    for line in httpx.get(url + "/metrics").text.splitlines():
        if line.startswith(name.split("{")[0]) and all(part in line for part in name.split("{")[1:]):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name}")


class Busy(OpenAI):
    FLAGS = [*OpenAI.FLAGS, "--max-num-queued-reqs", "1"]
    LONG = {"max_tokens": 500, "seed": 1, "stream": True, "extra_body": {"ignore_eos": True}}

    def hold(self):
        """A stream that has begun and holds the only place; closing it frees the place."""
        while any(counter(self.url, f"weir:num_requests_{at}") > 0 for at in ("running", "waiting")):
            pass  # a stream that was closed holds it until the server has noticed
        chat = {"messages": [{"role": "user", "content": SENTENCES[0]}]}
        stream = self.client.chat.completions.create(model="demo:verifier", **chat, **self.LONG)
        next(iter(stream))
        return stream

    def test_is_refused_and_told_when_to_come_back(self):
        for _ in range(100):  # until the stream outlives the question
            stream = self.hold()
            try:
                self.complete("Hello", temperature=0)
            except openai.InternalServerError as error:
                self.assertEqual((error.status_code, error.code), (503, "queue_full"))
                self.assertTrue(1 <= int(error.response.headers["retry-after"]) <= 60)
                return
            finally:
                stream.close()
        self.fail("the place was always free")

    def test_the_packages_retries_succeed(self):
        for _ in range(100):
            stream, statuses = self.hold(), []

            def seen(response, stream=stream, statuses=statuses):
                statuses.append(response.status_code)
                stream.close()

            http = httpx.Client(event_hooks={"response": [seen]})
            with openai.OpenAI(base_url=self.v1, api_key="none", max_retries=8, http_client=http) as client:
                got = client.completions.create(model="demo", prompt=SENTENCES[0], temperature=0)
            self.assertEqual(statuses[-1], 200)
            self.assertTrue(got.choices[0].text)
            if statuses[0] == 503:
                return
        self.fail("the place was always free")


class Leaving(OpenAI):
    def test_a_closed_stream_is_cancelled(self):
        """Until one was caught while it ran: an answer of this size may end before its reader has left."""
        while counter(self.url, 'weir:cancelled_total{phase="running"') == 0:
            stream = self.complete(SENTENCES[0],
                                   max_tokens=500,
                                   seed=1,
                                   stream=True,
                                   extra_body={"ignore_eos": True})
            next(iter(stream))
            stream.close()
        while counter(self.url, "weir:num_requests_running") > 0:
            pass


class Stopping(unittest.TestCase):
    def test_ends_with_0(self):
        server = Server(DEMO, "--log-disable")
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
