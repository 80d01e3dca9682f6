#include "host/cli/options/options.h"

/* Names, arguments and help of the commands, in the order of the program's help. */

const cli_command_info cli_commands[CMD_COUNT] = {
    [CMD_GENERATE] =
        {"generate", "-m DIR [-md DIR] [-p TEXT | -f FILE | --input FILE.jsonl] [options]",
         "Answer prompts with one model, or with a pair under a deferral rule.",
         "Prompts come from -p, from -f, from the JSON lines of --input, or from standard input, "
         "one per line. Text is printed as its tokens are decided. Several prompts give one answer "
         "per line, in input order; a line break inside an answer is printed as a space.\n"
         "An unknown field in an input object, or one of the wrong type, ends the run at that "
         "line. The answers before it are still printed.\n"
         "Fields of an output object: index, text, token_ids, sources (kept, accepted, resampled, "
         "bonus, drafter, verifier), logprobs (of the verifier, raw), policy_logprobs (of the law "
         "the token was drawn from), finish_reason (stop, length, cancelled), usage, timings, "
         "metrics, settings. A number that does not exist is null.\n"
         "Ctrl-C ends the running answers, prints them and exits with 130; a second Ctrl-C kills "
         "the program.",
         "weir generate -m models/demo/verifier -p 'It snowed a lot.'\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --deferral-rule token-v3 "
         "--deferral-alpha 0.2 --show-sources --stats -p 'I want to learn Japanese.'\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --input prompts.jsonl -np 4 > "
         "answers.jsonl",
         WIRE_GENERATE},
    [CMD_CHAT] =
        {"chat", "-m DIR [-md DIR] [options]", "Talk to one model or a pair, line by line.",
         "Each line of standard input is a message. Its answer is printed as its tokens are "
         "decided, and both become part of the conversation. A line that ends in a backslash "
         "continues on the next line. A conversation that no longer fits in the context is "
         "refused, never cut.\n"
         "Lines that begin with / are commands: /rule RULE [ALPHA [BETA]], /alpha A, /beta B, "
         "/exact, /temp T and /gamma N change settings from the next answer on; /system [TEXT] "
         "sets the system message, /reset forgets the conversation, /stats prints figures for the "
         "last answer and for all, /help lists the commands, /exit ends. To send a message that "
         "begins with /, put a space before it.\n"
         "The checkpoint's own chat template (Jinja) is run; --chat-template selects another "
         "format, --chat-template-file another template. The content of a message is never "
         "interpreted as markup.\n"
         "Ctrl-C stops an answer and keeps the part that was written. At the prompt Ctrl-C ends "
         "the program with 130, Ctrl-D with 0. If standard input is not a terminal, a failed "
         "message or command makes the exit status 1.",
         "weir chat -m models/demo/verifier -md models/demo/drafter --chat-template plain --show-sources"},
    [CMD_SCORE] =
        {"score", "-m DIR [--input FILE.jsonl] [options]",
         "Log-probability of each token of given completions, teacher-forced.",
         "Reads objects with prompt and completion, or with prompt_ids and completion_ids, one per "
         "line. Prompt text is tokenised as the checkpoint expects it (T5: end-of-text appended; "
         "others: start-of-text in front) and is an encoder's input, if there is one. Nothing is added to "
         "completion text. An object with text or text_ids alone is scored whole, from its second "
         "token on; this needs a decoder-only model.\n"
         "Prints completion_ids, logprobs (natural logarithm, raw softmax of the verifier given "
         "all tokens before) and their sum.",
         "echo '{\"prompt\": \"It snowed a lot.\", \"completion\": \"Es hat viel geschneit.\"}' | weir "
         "score -m models/demo/verifier",
         WIRE_SCORE},
    [CMD_RULE] =
        {"rule", "[--input FILE.jsonl] [options]",
         "What a deferral rule does at one position, given both models' logits.",
         "Reads objects with q_logits (drafter) and p_logits (verifier) of equal length. Settings "
         "in an object override the flags.\n"
         "Prints rule, alpha, beta, deferred, eta, keep, pi (the law of the emitted token), reject "
         "(the probability that the drafted token is rejected), accept (the probability that token "
         "v is accepted once drafted; null where q never drafts it) and residual (the law after a "
         "rejection). What a rule does not define is null. --draws adds draws, counts and "
         "accepted_fraction.",
         "echo '{\"rule\": \"token-v3\", \"alpha\": 0.5, \"q_logits\": [0, 1, 2], \"p_logits\": [2, 1, "
         "0]}' | weir rule --draws 10000",
         WIRE_RULE},
    [CMD_RECORD] =
        {"record", "-m DIR -md DIR [-p TEXT | -f FILE | --input FILE.jsonl] [options]",
         "Answer prompts and save, for every position, what a rule needs from both models.",
         "Takes prompts as generate does. Each answer is written under the law set by the flags "
         "(exact by default); then both models run over it once.\n"
         "Prints, for each answer, index, law (what it was drawn from), finish_reason, ended (by "
         "end-of-text, which is then the last of token_ids), token_ids, tail_mass, and rows. A row "
         "has q and p, the logits of drafter and verifier in order of id with the merged tail "
         "last, and token, the index of the emitted token among them.",
         "weir record -m models/demo/verifier -md models/demo/drafter --input prompts.jsonl > "
         "recording.jsonl",
         WIRE_GENERATE},
    [CMD_REPLAY] =
        {"replay", "--recording FILE.jsonl [--input FILE.jsonl] [options]",
         "Estimate what any rule would have rejected and deferred on recorded texts, and how long "
         "its blocks would be.",
         "Reads one object per line; its settings override the flags. Prints one object for each: "
         "the setting, texts, rows, tail_mass, and recorded and reweighted. These two hold "
         "rejection_rate, deferral_rate, mean_acceptance_length, verifier_calls_per_token, "
         "tokens_per_answer, each with its standard error over texts in a field of the same name "
         "ending in _error, and effective_texts.\n"
         "recorded: at the prefixes as they were written. It is exact there, but the rule's own "
         "text would visit other prefixes. reweighted: prefixes weighted by how likely the rule's "
         "law makes them compared with the recorded law. It has no bias, but few effective texts "
         "if the two laws are far apart. quality is null: only a run can measure it. --gamma is a "
         "number here, 5 without it.",
         "weir replay --recording recording.jsonl --deferral-rule token-v3 --deferral-alpha 0.5 --gamma 5",
         WIRE_REPLAY},
    [CMD_TOKENIZE] =
        {"tokenize", "-m DIR [-p TEXT | -f FILE | --input FILE.jsonl] [options]", "Token ids of text.",
         "Text comes from -p, from -f, from the field text or prompt of --input's objects, or from "
         "standard input, one per line. Prints ids separated by spaces, one text per line. With "
         "--jsonl or --input it prints objects with token_ids and pieces.",
         "weir tokenize -m models/demo/verifier -p 'It snowed a lot.'"},
    [CMD_DETOKENIZE] = {"detokenize", "-m DIR [ID ... | --input FILE.jsonl] [options]", "Text of token ids.",
                        "Ids come from the arguments, from the field token_ids of --input's objects, or from "
                        "lines of standard input, separated by spaces or commas, with or without brackets. "
                        "Control pieces (end-of-text, padding) are left out.",
                        "weir detokenize -m models/demo/verifier 83 39 213 2293 303 470 3"},
    [CMD_INFO] = {"info", "-m DIR [-md DIR] [options]",
                  "Facts about a checkpoint or a pair, and the memory plan.",
                  "Reads the configurations and the headers of the weights. It loads no weights, and never "
                  "refuses for lack of memory.",
                  "weir info -m models/demo/verifier -md models/demo/drafter -np 8"},
    [CMD_BENCH] = {"bench", "-m DIR [-md DIR] [options]", "Time the parts of a block on this machine.",
                   "Times the prefill, a draft step, verifier passes of 1 to --rows rows, the accept step "
                   "and whole blocks. Prints microseconds (median and 99th percentile), GB/s of weights and "
                   "cache moved, and their share of the copy bandwidth measured in the same run. Blocks have "
                   "as many drafts as --gamma says, 5 without it; auto is refused. Parts that need a "
                   "drafter are left out if there is none.",
                   "weir bench -m models/demo/verifier -md models/demo/drafter --gamma 5"},
    [CMD_TUNE] =
        {"tune",
         "-m DIR -md DIR --out FILE.json [--max-quality-loss X] [--min-speedup X] [options] [DATA ...]",
         "Find a rule, its knob and gamma within a budget for quality or speed.",
         "DATA is a file of prompts (JSON lines with prompt, or text with one prompt per line), or "
         "whatever --task expects. Both models run over some of the prompts once; replaying all "
         "candidates on them shows which could be fast enough. Those run on a few prompts, the "
         "better half on twice as many, and so on, the last five on all.\n"
         "Without references, answers are compared with four of the verifier's own answers to the "
         "same prompt (chrF; with one at temperature 0). The loss is relative to the verifier's "
         "own score on the same measure.\n"
         "Prints the setting, its speed-up and loss with 95% intervals, the share of bootstrap "
         "replicates that keep the budget, and how many answers the search took; the profile has "
         "them too. If no setting keeps the budget, no profile is written; nor if none is faster than "
         "the verifier alone, unless --min-speedup asks for less. The search is "
         "bench/lab/tune.py and needs Python packages; -t, -np, --device and similar "
         "options apply to every run.",
         "weir tune -m models/demo/verifier -md models/demo/drafter --task translation --limit 200 "
         "--max-quality-loss 1 --out p.json\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --profile p.json -p 'It snowed a "
         "lot.'"},
    [CMD_SERVE] =
        {"serve", "-m DIR [-md DIR] [options]",
         "Answer requests of OpenAI's API over HTTP, with one model or a pair.",
         "Listens on 127.0.0.1:8080 unless --host and --port say otherwise, and serves POST "
         "/v1/chat/completions and /v1/completions, GET /v1/models, and a page to try it at /. Options for "
         "sampling and for the rule are defaults: each request may set its own (deferral_rule, "
         "deferral_alpha, num_speculative_tokens, ...), or take a model name such as NAME:exact, "
         "NAME:verifier, NAME:drafter or NAME:PROFILE.\n"
         "Requests share the models: prompts are read in slices between the blocks of running answers. The "
         "tokens of a request depend on its prompt, settings and seed alone, never on the load.\n"
         "SIGTERM or Ctrl-C lets running answers end, then exits with 0; a second one exits at once. "
         "SIGHUP opens the log again and reads the key file.",
         "weir serve -m models/demo/verifier -md models/demo/drafter --deferral-rule token-v3 "
         "--deferral-alpha 0.2\n"
         "curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' -d "
         "'{\"prompt\": \"It snowed a lot.\", \"max_tokens\": 64}'",
         0},
};
