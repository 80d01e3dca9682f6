#include "host/cli/options/options.h"

/* Names, arguments and help of the commands, in the order of the program's help. */

const cli_command_info cli_commands[CMD_COUNT] = {
    [CMD_GENERATE] =
        {"generate", "-m DIR [-md DIR] [-p TEXT | -f FILE | --input FILE.jsonl] [options]",
         "Answer prompts with one model or a pair under a deferral rule.",
         "Prompts come from -p, from -f, from the JSON lines of --input, or from standard input, one a "
         "line. Text is printed as its tokens are decided; with several prompts there is one answer a line, "
         "in input order (a line break inside an answer is printed as a space).\n"
         "An unknown field of an input object, or a wrong type, ends the run at that line, after the answers before "
         "it.\n"
         "Fields of an output object: index, text, token_ids, sources (kept, accepted, resampled, bonus, "
         "drafter, verifier), logprobs (of the verifier, raw), policy_logprobs (of the law the token was "
         "drawn from), finish_reason (stop, length, cancelled), usage, timings, metrics, settings. null "
         "stands for a number that does not exist.\n"
         "Ctrl-C ends the answers at work, prints them and exits with 130; a second one kills.",
         "weir generate -m models/demo/verifier -p 'It snowed a lot.'\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --deferral-rule token-v3 "
         "--deferral-alpha 0.2 --show-sources --stats -p 'I want to learn Japanese.'\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --input prompts.jsonl -np 4 > "
         "answers.jsonl",
         WIRE_GENERATE},
    [CMD_CHAT] =
        {"chat", "-m DIR [-md DIR] [options]", "Talk with one model or a pair, line by line.",
         "Each line of standard input is a message; its answer is printed as its tokens are decided, and "
         "both are part of the conversation that the next one is answered in. A line that ends in a "
         "backslash goes on in the next. A conversation that no longer fits the context is refused, never "
         "cut.\n"
         "Lines that begin with / are commands: /rule RULE [ALPHA [BETA]], /alpha A, /beta B, /exact, /temp "
         "T and /gamma N change settings from the next answer on; /system [TEXT] sets the system message, "
         "/reset forgets the conversation, /stats prints figures of the last answer and of all, /help lists "
         "the commands, /exit ends. A message that begins with / is written with a blank before it.\n"
         "The checkpoint's own chat template (Jinja) is run; --chat-template names another format, "
         "--chat-template-file another template. What a message says is never taken for markup.\n"
         "Ctrl-C stops an answer and keeps what there is of it; at the prompt it ends with 130, Ctrl-D with "
         "0. Where standard input is no terminal, a message or command that failed makes the exit status 1.",
         "weir chat -m models/demo/verifier -md models/demo/drafter --chat-template plain --show-sources"},
    [CMD_SCORE] =
        {"score", "-m DIR [--input FILE.jsonl] [options]",
         "Log-probability of each token of given completions, teacher-forced.",
         "Reads objects with prompt and completion, or prompt_ids and completion_ids, one a line. Ids are "
         "taken as they are. Prompt text is tokenised as the checkpoint wants it (T5: end-of-text appended, "
         "the prompt is the encoder's input; others: start-of-text in front); completion text is tokenised "
         "with nothing added. An object with text or text_ids alone is scored whole by a decoder-only "
         "model, from its second token on.\n"
         "Prints completion_ids, logprobs (natural, raw softmax of the verifier given all tokens before) "
         "and their sum.",
         "echo '{\"prompt\": \"It snowed a lot.\", \"completion\": \"Es hat viel geschneit.\"}' | weir "
         "score -m models/demo/verifier",
         WIRE_SCORE},
    [CMD_RULE] =
        {"rule", "[--input FILE.jsonl] [options]",
         "What a deferral rule says about one position, from logits.",
         "Reads objects with q_logits (drafter) and p_logits (verifier) of equal length, and settings over those "
         "of the flags.\n"
         "Prints rule, alpha, beta, deferred, eta, keep, pi (the law of the emitted token), reject (the "
         "probability that the drafted token is refused), accept (the probability that token v is accepted "
         "once drafted; null where q never drafts it) and residual (the law after a refusal); null where a "
         "rule has no such thing. --draws adds draws, counts and accepted_fraction.",
         "echo '{\"rule\": \"token-v3\", \"alpha\": 0.5, \"q_logits\": [0, 1, 2], \"p_logits\": [2, 1, "
         "0]}' | weir rule --draws 10000",
         WIRE_RULE},
    [CMD_RECORD] =
        {"record", "-m DIR -md DIR [-p TEXT | -f FILE | --input FILE.jsonl] [options]",
         "Answer prompts and keep what a rule needs of both models at every position.",
         "Prompts come from where those of generate do. Each answer is written under the law "
         "of the flags (exact unless said), then both models run over it once.\n"
         "Prints, for each answer, index, law (what it was drawn from), finish_reason, ended (by "
         "end-of-text, which is then the last of token_ids), token_ids, tail_mass, and rows: for each token "
         "q and p, the logits of drafter and verifier in order of id with the merged tail last, and token, "
         "the place of the emitted one among them.",
         "weir record -m models/demo/verifier -md models/demo/drafter --input prompts.jsonl > "
         "recording.jsonl",
         WIRE_GENERATE},
    [CMD_REPLAY] =
        {"replay", "--recording FILE.jsonl [--input FILE.jsonl] [options]",
         "What any rule would have rejected and deferred on recorded texts, and how long its blocks.",
         "Reads objects with settings over those of the flags, one per line, and prints one object for each: the "
         "setting, texts, rows, tail_mass, and recorded and reweighted with rejection_rate, deferral_rate, "
         "mean_acceptance_length, verifier_calls_per_token, tokens_per_answer, each with its standard error "
         "over texts under the name with _error behind it, and effective_texts.\n"
         "recorded: at the prefixes as they were written, exact there, while the rule's own text would "
         "visit others. reweighted: prefixes weighted by how likely the rule's law makes them against the "
         "recorded one; no bias, but few effective texts where the two are far apart. quality is null: only "
         "a run can tell.",
         "weir replay --recording recording.jsonl --deferral-rule token-v3 --deferral-alpha 0.5 --gamma 5",
         WIRE_REPLAY},
    [CMD_TOKENIZE] =
        {"tokenize", "-m DIR [-p TEXT | -f FILE | --input FILE.jsonl] [options]", "Token ids of text.",
         "Text comes from -p, from -f, from the field text or prompt of --input's objects, or from standard "
         "input, one a line. Prints ids separated by spaces, one text a line; with --jsonl or --input "
         "objects with token_ids and pieces.",
         "weir tokenize -m models/demo/verifier -p 'It snowed a lot.'"},
    [CMD_DETOKENIZE] =
        {"detokenize", "-m DIR [ID ... | --input FILE.jsonl] [options]", "Text of token ids.",
         "Ids come from the arguments, from the field token_ids of --input's objects, or from lines of "
         "standard input, separated by spaces or commas, in brackets or not. Control pieces (end-of-text, "
         "padding) are left out.",
         "weir detokenize -m models/demo/verifier 83 39 213 2293 303 470 3"},
    [CMD_INFO] =
        {"info", "-m DIR [-md DIR] [options]", "Facts of a checkpoint or a pair, and the memory plan.",
         "Reads the configurations and the headers of the weights, loads nothing and refuses nothing for "
         "lack of memory.",
         "weir info -m models/demo/verifier -md models/demo/drafter -np 8"},
    [CMD_BENCH] =
        {"bench", "-m DIR [-md DIR] [options]", "Time the parts of a block on this machine.",
         "Times the prefill, a draft step, verifier passes of 1 to --rows rows, the accept step and whole "
         "blocks; prints microseconds (median and 99th percentile), GB/s of weights and cache moved, and "
         "their share of the copy bandwidth measured in the same run. Without a drafter the rows that need "
         "one are left out.",
         "weir bench -m models/demo/verifier -md models/demo/drafter --gamma 5"},
    [CMD_TUNE] =
        {"tune",
         "-m DIR -md DIR --out FILE.json [--max-quality-loss X] [--min-speedup X] [options] [DATA ...]",
         "Find a rule, its knob and gamma within a budget of quality or speed.",
         "DATA is a file of prompts (JSON lines with prompt, or text with a prompt a line), or what --task "
         "says. Both models run over some of the prompts once; a replay of all candidates tells which could "
         "be fast enough; those run on a few prompts, the better half on twice as many, and so on, the last "
         "five on all.\n"
         "Without references answers are compared with four of the verifier's own to the same prompt (chrF; "
         "one at temperature 0), and the loss is against what the verifier itself scores so.\n"
         "Prints the setting, its speed-up and loss with 95% intervals, in how many bootstrap replicates "
         "the budget is kept, and how many answers that took; writes them into the profile too. No profile "
         "is written where no setting keeps the budget. The search is bench/lab/tune.py and needs that "
         "folder's Python packages; -t, -np, --device and the like go to every run.",
         "weir tune -m models/demo/verifier -md models/demo/drafter --task translation --limit 200 "
         "--max-quality-loss 1 --out p.json\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --profile p.json -p 'It snowed a "
         "lot.'"},
};
