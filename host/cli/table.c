#include <math.h>

#include "host/cli/options.h"

#define G (1u << CMD_GENERATE)
#define C (1u << CMD_CHAT)
#define S (1u << CMD_SCORE)
#define R (1u << CMD_RULE)
#define O (1u << CMD_RECORD)
#define P (1u << CMD_REPLAY)
#define T (1u << CMD_TOKENIZE)
#define D (1u << CMD_DETOKENIZE)
#define I (1u << CMD_INFO)
#define B (1u << CMD_BENCH)
#define U (1u << CMD_TUNE)
#define ENGINE (G | C | S | R | O | P | T | D | I | B)
#define ALL (ENGINE | U)

/* Spellings follow llama.cpp where it has the option. Ranges that hang on other options (the context, the rule) are
 * checked where both are known; their text is in `help`. */
const cli_option cli_options[OPT_COUNT] = {
    [OPT_MODEL] = {.name = "model", .brief = "m", .env = true, .type = CLI_TEXT, .value = "DIR",
                   .absent = "required",
                   .help = "The verifier: a directory of config.json, *.safetensors and its tokenizer, or a GGUF file.",
                   .commands = G | C | S | O | T | D | I | B | U},
    [OPT_MODEL_DRAFT] = {.name = "model-draft", .brief = "md", .env = true, .type = CLI_TEXT, .value = "DIR",
                         .absent = "none: the verifier alone",
                         .help = "The drafter, likewise. It must be of the verifier's kind and share its vocabulary, up to "
                                 "padding.",
                         .commands = G | C | O | I | B | U},
    [OPT_PROMPT] = {.name = "prompt", .brief = "p", .type = CLI_TEXT, .value = "TEXT",
                    .absent = "lines of standard input", .help = "The prompt.", .commands = G | O | T},
    [OPT_FILE] = {.name = "file", .brief = "f", .type = CLI_TEXT, .value = "FILE", .absent = "none",
                  .help = "A file whose whole text is one prompt (a newline at its end is dropped); - is standard input.",
                  .commands = G | O | T},
    [OPT_INPUT] = {.name = "input", .type = CLI_TEXT, .value = "FILE.jsonl", .absent = "standard input",
                   .help = "A file of JSON objects, one a line; - is standard input. Output is JSON lines too.",
                   .commands = G | S | R | O | P | T | D},
    [OPT_CHAT_TEMPLATE] = {.name = "chat-template", .env = true, .type = CLI_TEXT, .value = "NAME",
                           .absent = "the checkpoint's own template",
                           .help = "Format of a conversation, see CHAT TEMPLATES. Prompts stay as they are; an input line's messages "
                                   "are written in it.",
                           .commands = G | C | O | I},
    [OPT_CHAT_TEMPLATE_FILE] = {.name = "chat-template-file", .env = true, .type = CLI_TEXT, .value = "FILE",
                                .absent = "the checkpoint's own template",
                                .help = "A Jinja template to run in place of the checkpoint's own.", .commands = G | C | O | I},
    [OPT_SYSTEM] = {.name = "system", .env = true, .type = CLI_TEXT, .value = "TEXT",
                    .absent = "the template's own, or none",
                    .help = "The system message of a conversation.", .commands = C},
    [OPT_N_PREDICT] = {.name = "n-predict", .brief = "n", .env = true, .type = CLI_INT, .value = "N", .lo = 1,
                       .hi = 1 << 20, .unit = "tokens", .absent = "128, or the context where that is smaller; chat: the context",
                       .help = "Most tokens of an answer, at most the context; end-of-text is not counted.",
                       .commands = G | C | O},
    [OPT_CTX_SIZE] = {.name = "ctx-size", .brief = "c", .env = true, .type = CLI_INT, .value = "N", .lo = 1,
                      .hi = 1 << 20, .unit = "tokens",
                      .absent = "512 for T5; else 4096, or the trained context where that is less",
                      .help = "Room for a prompt and as much again for its answer (T5), or for both together "
                              "(decoder-only models: an answer ends where the room does).",
                      .commands = G | C | S | O | I | B | U},
    [OPT_SEED] = {.name = "seed", .brief = "s", .env = true, .type = CLI_UINT, .value = "N", .lo = 0,
                  .hi = 18446744073709551615.0, .preset = "0",
                  .help = "Same seed, same prompt, same settings: same tokens, on any number of sessions or threads.",
                  .commands = G | C | R | O | U},
    [OPT_TEMP] = {.name = "temp", .env = true, .type = CLI_NUMBER, .value = "T", .lo = 0, .hi = 2, .preset = "1",
                  .help = "Temperature of both models; 0 takes the likeliest token.", .commands = G | C | R | O | U},
    [OPT_TOP_K] = {.name = "top-k", .env = true, .type = CLI_INT, .value = "K", .lo = 0, .hi = 2147483647.0,
                   .unit = "tokens", .preset = "0",
                   .help = "Keep the K likeliest tokens (ties are kept) of both models; 0 keeps all.",
                   .commands = G | C | R | O | U},
    [OPT_TOP_P] = {.name = "top-p", .env = true, .type = CLI_NUMBER, .value = "P", .lo = 0, .lo_open = true,
                   .hi = 1, .preset = "1",
                   .help = "Keep the smallest set of likeliest tokens that holds mass P, after top-k; 1 keeps all.",
                   .commands = G | C | R | O | U},
    [OPT_MIN_P] = {.name = "min-p", .env = true, .type = CLI_NUMBER, .value = "P", .lo = 0, .hi = 1, .preset = "0",
                   .help = "Keep tokens of at least P times the likeliest one's probability; 0 keeps all.",
                   .commands = G | C | R | O | U},
    [OPT_METHOD] = {.name = "method", .env = true, .type = CLI_CHOICE,
                    .value = "speculative|verifier|drafter|token-cascade|oracle-cascade|sequence-cascade",
                    .absent = "speculative with a drafter, verifier without",
                    .help = "How the two models share the work. speculative drafts, verifies in one pass and accepts "
                            "under the rule; verifier and drafter run alone; token-cascade lets the rule look at the "
                            "drafter only and calls the verifier at least every 11th token; oracle-cascade runs both "
                            "models at every token; sequence-cascade keeps the drafter's whole answer unless its "
                            "log-probability is below minus alpha.",
                    .commands = G | C},
    [OPT_DRAFT_N_MAX] = {.name = "spec-draft-n-max", .alias = "gamma", .old = "draft-max", .env = true,
                         .type = CLI_INT, .value = "N", .lo = 1, .hi = 16, .unit = "tokens", .preset = "5",
                         .help = "Drafted tokens a block (gamma).", .commands = G | C | O | P | I | B},
    [OPT_RULE] = {.name = "deferral-rule", .env = true, .type = CLI_TEXT, .value = "RULE",
                  .absent = "exact; chow under token-cascade, diff under oracle-cascade",
                  .help = "When the verifier's word replaces the drafter's; see RULES.", .commands = G | C | R | O | P},
    [OPT_ALPHA] = {.name = "deferral-alpha", .env = true, .type = CLI_NUMBER, .value = "A", .lo = -INFINITY,
                   .hi = INFINITY, .absent = "the rule's own, see RULES",
                   .help = "The rule's knob, in the range of the rule: for most, larger defers less and runs faster. Under "
                           "sequence-cascade the threshold in nats, at least 0.",
                   .commands = G | C | R | O | P},
    [OPT_BETA] = {.name = "deferral-beta", .env = true, .type = CLI_NUMBER, .value = "B", .lo = 0, .hi = INFINITY,
                  .word = "auto", .absent = "the rule's own, see RULES",
                  .help = "The second knob of lossy (auto finds the beta that makes the masses match, row by row) and "
                          "of typical.",
                  .commands = G | C | R | O | P},
    [OPT_EXACT_FIRST] = {.name = "exact-first", .env = true, .type = CLI_INT, .value = "L", .lo = 0,
                         .hi = 2147483647.0, .unit = "tokens", .preset = "0",
                         .help = "The first L tokens follow the verifier exactly, whatever the rule.",
                         .commands = G | C | O | P},
    [OPT_GATE] = {.name = "gate", .env = true, .type = CLI_CHOICE, .value = "raw|scaled", .preset = "raw",
                  .help = "What the rule looks at: both models' softmax at temperature 1 (raw), or after temperature "
                          "and truncation (scaled).",
                  .commands = G | C | R | O | P | U},
    [OPT_BONUS] = {.name = "bonus", .env = true, .type = CLI_CHOICE, .value = "pi|verifier", .preset = "pi",
                   .help = "Where the token after a fully accepted block comes from: the rule's law (one more drafter "
                           "step), or the verifier.",
                   .commands = G | C | R | O | P | U},
    [OPT_BLOCK_VERIFY] = {.name = "block-verify", .env = true, .type = CLI_FLAG, .absent = "off",
                          .help = "Accept a block as a whole (longer blocks, the same law).", .commands = G | C},
    [OPT_SEQ_CONFIDENCE] = {.name = "seq-confidence", .alias = "seq-conf", .env = true, .type = CLI_CHOICE,
                            .value = "mean|sum", .preset = "mean",
                            .help = "Confidence of sequence-cascade: mean or sum of the drafter's log-probabilities.",
                            .commands = G | C},
    [OPT_PROFILE] = {.name = "profile", .env = true, .type = CLI_TEXT, .value = "FILE.json", .absent = "none",
                     .help = "Rule, knobs, gamma, gate and bonus as a tuning run chose them; what the command line or the "
                             "environment says wins.",
                     .commands = G},
    [OPT_STOP] = {.name = "stop", .env = true, .type = CLI_LIST, .value = "STRING", .absent = "none",
                  .help = "End the answer before this string; up to 16 times.", .commands = G | C},
    [OPT_IGNORE_EOS] = {.name = "ignore-eos", .env = true, .type = CLI_FLAG, .absent = "off",
                        .help = "Go on past end-of-text to the token limit (for timings).", .commands = G | C},
    [OPT_NO_SPECIAL] = {.name = "no-special", .env = true, .type = CLI_FLAG, .absent = "off",
                        .help = "Leave out what the checkpoint adds to a prompt (T5: end-of-text; others: start-of-text).", .commands = T},
    [OPT_NO_PARSE_SPECIAL] = {.name = "no-parse-special", .env = true, .type = CLI_FLAG, .absent = "off",
                              .help = "What spells a special token in a prompt (\"</s>\", \"<|fim_prefix|>\") is text.",
                              .commands = G | S | O | T},
    [OPT_DRAWS] = {.name = "draws", .env = true, .type = CLI_INT, .value = "N", .lo = 0, .hi = 1e12, .unit = "draws",
                   .preset = "0",
                   .help = "Run the accept step N times, drafted tokens drawn from q, and add counts.",
                   .commands = R},
    [OPT_TAIL] = {.name = "tail", .type = CLI_NUMBER, .value = "MASS", .lo = 0, .hi = 0.1, .preset = "1e-4",
                  .help = "The least likely tokens of both models are merged into one entry of at most this mass under "
                          "either; 0 keeps all, and the replay is exact. Above temperature 1 and under top-k, top-p "
                          "or min-p all are kept.",
                  .commands = O},
    [OPT_RECORDING] = {.name = "recording", .type = CLI_TEXT, .value = "FILE.jsonl", .absent = "required",
                       .help = "What weir record wrote.", .commands = P},
    [OPT_DEVICE] = {.name = "device", .env = true, .type = CLI_TEXT, .value = "cpu|auto|cuda[:N]", .preset = "auto",
                    .help = "Where the models run, whole: the CPU, or CUDA device N (cuda: device 0). auto takes the "
                            "first CUDA device and the CPU where there is none; cuda never falls back.",
                    .commands = G | C | S | O | I | B | U},
    [OPT_PARALLEL] = {.name = "parallel", .brief = "np", .env = true, .type = CLI_INT, .value = "N", .lo = 1,
                      .hi = 256, .unit = "sessions", .preset = "1",
                      .help = "Prompts worked on at once. Answers do not depend on it and come in input order.",
                      .commands = G | I | U},
    [OPT_THREADS] = {.name = "threads", .brief = "t", .env = true, .type = CLI_INT, .value = "N", .lo = 1, .hi = 256,
                     .unit = "threads", .absent = "the cores this process may use", .help = "Threads of the CPU backend.",
                     .commands = G | C | S | O | I | B | U},
    [OPT_ISA] = {.name = "isa", .env = true, .type = CLI_CHOICE, .value = "portable|avx2|avx512|avx512bf16",
                 .absent = "the best this machine has", .help = "Instruction set of the CPU backend.",
                 .commands = G | C | S | O | I | B | U},
    [OPT_NO_GRAPH] = {.name = "no-graph", .env = true, .type = CLI_FLAG, .absent = "off",
                      .help = "On a CUDA device the host calls every operation instead of replaying recorded blocks: the "
                              "same tokens, slower (for debugging).",
                      .commands = G | C | O | B},
    [OPT_STRICT_CONFIG] = {.name = "strict-config", .env = true, .type = CLI_FLAG, .absent = "off",
                           .help = "Refuse a model directory with fields or tensors that weir does not know; "
                                   "otherwise they are ignored with one warning. What is known to change the "
                                   "result is refused either way.",
                           .commands = G | C | S | O | T | D | I | B | U},
    [OPT_N_PROMPT] = {.name = "n-prompt", .env = true, .type = CLI_INT, .value = "N", .lo = 1, .hi = 1 << 20,
                      .unit = "tokens", .preset = "64", .help = "Length of the prompt that is timed; at most the context.",
                      .commands = B},
    [OPT_ROWS] = {.name = "rows", .env = true, .type = CLI_INT, .value = "N", .lo = 1, .hi = 17, .unit = "rows",
                  .preset = "8", .help = "Verifier passes of 1 to N rows are timed.", .commands = B},
    [OPT_REPEAT] = {.name = "repeat", .env = true, .type = CLI_INT, .value = "N", .lo = 1, .hi = 1000000,
                    .unit = "runs", .preset = "50", .help = "Runs behind each median, after warm-up.", .commands = B},
    [OPT_TASK] = {.name = "task", .env = true, .type = CLI_TEXT, .value = "NAME", .preset = "prompts",
                  .help = "What the files hold and how answers are judged: prompts, translation, xsum, cnn-dm, gsm8k, mbpp, humaneval, "
                          "squad, webquestions, nq-open, triviaqa. prompts needs no references: answers are held against the "
                          "verifier's own.",
                  .commands = U},
    [OPT_TASK_OPTION] = {.name = "option", .type = CLI_LIST, .value = "KEY=VALUE", .absent = "the task's own",
                         .help = "An option of the task: max_tokens, shots, prefix and others; up to 16 times.", .commands = U},
    [OPT_LIMIT] = {.name = "limit", .env = true, .type = CLI_INT, .value = "N", .lo = 0, .hi = 1 << 20, .unit = "prompts",
                   .preset = "0", .help = "The first N prompts only; 0 takes all.", .commands = U},
    [OPT_GAMMAS] = {.name = "gammas", .env = true, .type = CLI_TEXT, .value = "N,N,...", .preset = "1,3,5",
                    .help = "Lengths of drafts to try, in tokens, each 1 to 16.", .commands = U},
    [OPT_MAX_QUALITY_LOSS] = {.name = "max-quality-loss", .env = true, .type = CLI_NUMBER, .value = "X", .lo = 0, .hi = 100,
                              .absent = "no bound",
                              .help = "Most that may be lost against the verifier, in points of the task's first metric; the "
                                      "fastest setting within it is taken.",
                              .commands = U},
    [OPT_MIN_SPEEDUP] = {.name = "min-speedup", .env = true, .type = CLI_NUMBER, .value = "X", .lo = 0, .lo_open = true, .hi = 100,
                         .absent = "no bound",
                         .help = "Least speed-up over the verifier. Alone: the best quality at it is taken.", .commands = U},
    [OPT_OUT] = {.name = "out", .brief = "o", .type = CLI_TEXT, .value = "FILE.json", .absent = "required",
                 .help = "The profile, for weir generate --profile. Runs are kept beside it, so that the same command goes on after "
                         "an end.",
                 .commands = U},
    [OPT_LAB] = {.name = "lab", .env = true, .type = CLI_TEXT, .value = "DIR", .absent = "bench/ of the tree that weir was built in",
                 .help = "The folder of the lab, whose Python does the search.", .commands = U},
    [OPT_LAB_PYTHON] = {.name = "lab-python", .env = true, .type = CLI_TEXT, .value = "FILE",
                        .absent = "the one that ./make.sh lab made, else python3",
                        .help = "A Python that has bench/lab/requirements.txt.", .commands = U},
    [OPT_SHOW_SOURCES] = {.name = "show-sources", .env = true, .type = CLI_FLAG, .absent = "off",
                          .help = "Show who wrote each token: colours on a terminal, marks like [k|...] elsewhere or "
                                  "when NO_COLOR is set; the legend goes to standard error.",
                          .commands = G | C},
    [OPT_JSONL] = {.name = "jsonl", .env = true, .type = CLI_FLAG, .absent = "off",
                   .help = "Print one JSON object a line. generate also reads objects instead of text from standard "
                           "input.",
                   .commands = G | T | D},
    [OPT_JSON] = {.name = "json", .env = true, .type = CLI_FLAG, .absent = "off",
                  .help = "Print one JSON object instead of the table.", .commands = I | B},
    [OPT_CSV] = {.name = "csv", .env = true, .type = CLI_FLAG, .absent = "off",
                 .help = "Print comma-separated values instead of the table.", .commands = B},
    [OPT_STATS] = {.name = "stats", .env = true, .type = CLI_FLAG, .absent = "off",
                   .help = "Summary of the run on standard error: speed, acceptance, rejection, deferral, sources, time.",
                   .commands = G | C},
    [OPT_QUIET] = {.name = "quiet", .brief = "q", .env = true, .type = CLI_FLAG, .absent = "off",
                   .help = "Errors only on standard error: no setting line, no warnings, no progress bar.",
                   .commands = ENGINE},
    [OPT_HELP] = {.name = "help", .brief = "h", .type = CLI_FLAG, .absent = "off", .help = "Print this and exit.",
                  .commands = ALL},
    [OPT_VERSION] = {.name = "version", .type = CLI_FLAG, .absent = "off", .help = "Print the version and exit.",
                     .commands = ALL},
};

const cli_command_info cli_commands[CMD_COUNT] = {
    [CMD_GENERATE] =
        {"generate", "-m DIR [-md DIR] [-p TEXT | -f FILE | --input FILE.jsonl] [options]",
         "Answer prompts with one model or a pair under a deferral rule.",
         "Prompts come from -p, from -f, from the JSON lines of --input, or from standard input, one a line. Text is "
         "printed as its tokens are decided; with several prompts there is one answer a line, in input order "
         "(a line break inside an answer is printed as a space).\n"
         "Fields of an input object: prompt, prompt_ids or messages (a list of objects with role and content, written in the "
         "chat template), and over the flags seed, max_tokens, stop (a string or a "
         "list), temperature, top_k, top_p, min_p, deferral_rule, deferral_alpha, deferral_beta, "
         "num_speculative_tokens, exact_first, speculative (false: the verifier alone). An unknown field or a wrong "
         "type ends the run at that line, after the answers before it.\n"
         "Fields of an output object: index, text, token_ids, sources (kept, accepted, resampled, bonus, drafter, "
         "verifier), logprobs (of the verifier, raw), policy_logprobs (of the law the token was drawn from), "
         "finish_reason (stop, length, cancelled), usage, timings, metrics, settings. null stands for a number that "
         "does not exist.\n"
         "Ctrl-C ends the answers at work, prints them and exits with 130; a second one kills.",
         "weir generate -m models/demo/verifier -p 'It snowed a lot.'\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --deferral-rule token-v3 --deferral-alpha 0.2 "
         "--show-sources --stats -p 'I want to learn Japanese.'\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --input prompts.jsonl -np 4 > answers.jsonl"},
    [CMD_CHAT] =
        {"chat", "-m DIR [-md DIR] [options]", "Talk with one model or a pair, line by line.",
         "Each line of standard input is a message; its answer is printed as its tokens are decided, and both are part of the "
         "conversation that the next one is answered in. A line that ends in a backslash goes on in the next. A conversation that "
         "no longer fits the context is refused, never cut.\n"
         "Lines that begin with / are commands: /rule RULE [ALPHA [BETA]], /alpha A, /beta B, /exact, /temp T and /gamma N "
         "change settings from the next answer on; /system [TEXT] sets the system message, /reset forgets the conversation, "
         "/stats prints figures of the last answer and of all, /help lists the commands, /exit ends. A message that begins with "
         "/ is written with a blank before it.\n"
         "The checkpoint's own chat template (Jinja) is run; --chat-template names another format, --chat-template-file another "
         "template. What a message says is never taken for markup.\n"
         "Ctrl-C stops an answer and keeps what there is of it; at the prompt it ends with 130, Ctrl-D with 0. Where standard input "
         "is no terminal, a message or command that failed makes the exit status 1.",
         "weir chat -m models/demo/verifier -md models/demo/drafter --chat-template plain --show-sources"},
    [CMD_SCORE] =
        {"score", "-m DIR [--input FILE.jsonl] [options]",
         "Log-probability of each token of given completions, teacher-forced.",
         "Reads objects with prompt and completion, or prompt_ids and completion_ids, one a line. Ids are taken as they "
         "are. Prompt text is tokenised as the checkpoint wants it (T5: end-of-text appended, the prompt is the "
         "encoder's input; others: start-of-text in front); completion text is tokenised with nothing added. "
         "An object with text or text_ids alone is scored whole by a decoder-only model, from its second token on.\n"
         "Prints completion_ids, logprobs (natural, raw softmax of the verifier given all tokens before) and their sum.",
         "echo '{\"prompt\": \"It snowed a lot.\", \"completion\": \"Es hat viel geschneit.\"}' | "
         "weir score -m models/demo/verifier"},
    [CMD_RULE] =
        {"rule", "[--input FILE.jsonl] [options]", "What a deferral rule says about one position, from logits.",
         "Reads objects with q_logits (drafter) and p_logits (verifier) of equal length, and over the flags rule, alpha, "
         "beta (a number or \"auto\"), temperature, top_k, top_p, min_p, gate, bonus.\n"
         "Prints rule, alpha, beta, deferred, eta, keep, pi (the law of the emitted token), reject (the probability "
         "that the drafted token is refused), accept (the probability that token v is accepted once drafted; null "
         "where q never drafts it) and residual (the law after a refusal); null where a rule has no such thing. "
         "--draws adds draws, counts and accepted_fraction.",
         "echo '{\"rule\": \"token-v3\", \"alpha\": 0.5, \"q_logits\": [0, 1, 2], \"p_logits\": [2, 1, 0]}' | "
         "weir rule --draws 10000"},
    [CMD_RECORD] =
        {"record", "-m DIR -md DIR [-p TEXT | -f FILE | --input FILE.jsonl] [options]",
         "Answer prompts and keep what a rule needs of both models at every position.",
         "Prompts and fields of input objects are those of generate. Each answer is written under the law of the flags "
         "(exact unless said), then both models run over it once.\n"
         "Prints, for each answer, index, law (what it was drawn from), finish_reason, ended (by end-of-text, which is then "
         "the last of token_ids), token_ids, tail_mass, and rows: for each token q and p, the logits of drafter and "
         "verifier in order of id with the merged tail last, and token, the place of the emitted one among them.",
         "weir record -m models/demo/verifier -md models/demo/drafter --input prompts.jsonl > recording.jsonl"},
    [CMD_REPLAY] =
        {"replay", "--recording FILE.jsonl [--input FILE.jsonl] [options]",
         "What any rule would have rejected and deferred on recorded texts, and how long its blocks.",
         "Reads objects with, over the flags, deferral_rule, deferral_alpha, deferral_beta, num_speculative_tokens, gate, "
         "bonus, exact_first, one a line, and prints one object for each: the setting, texts, rows, tail_mass, and "
         "recorded and reweighted with rejection_rate, deferral_rate, mean_acceptance_length, verifier_calls_per_token, "
         "tokens_per_answer, each with its standard error over texts under the name with _error behind it, and "
         "effective_texts.\n"
         "recorded: at the prefixes as they were written, exact there, while the rule's own text would visit others. "
         "reweighted: prefixes weighted by how likely the rule's law makes them against the recorded one; no bias, but few "
         "effective texts where the two are far apart. quality is null: only a run can tell.",
         "weir replay --recording recording.jsonl --deferral-rule token-v3 --deferral-alpha 0.5 --gamma 5"},
    [CMD_TOKENIZE] =
        {"tokenize", "-m DIR [-p TEXT | -f FILE | --input FILE.jsonl] [options]", "Token ids of text.",
         "Text comes from -p, from -f, from the field text or prompt of --input's objects, or from standard input, one a "
         "line. Prints ids separated by spaces, one text a line; with --jsonl or --input objects with token_ids and pieces.",
         "weir tokenize -m models/demo/verifier -p 'It snowed a lot.'"},
    [CMD_DETOKENIZE] =
        {"detokenize", "-m DIR [ID ... | --input FILE.jsonl] [options]", "Text of token ids.",
         "Ids come from the arguments, from the field token_ids of --input's objects, or from lines of standard input, "
         "separated by spaces or commas, in brackets or not. Control pieces (end-of-text, padding) are left out.",
         "weir detokenize -m models/demo/verifier 83 39 213 2293 303 470 3"},
    [CMD_INFO] =
        {"info", "-m DIR [-md DIR] [options]", "Facts of a checkpoint or a pair, and the memory plan.",
         "Reads the configurations and the headers of the weights, loads nothing and refuses nothing for lack of memory.",
         "weir info -m models/demo/verifier -md models/demo/drafter -np 8"},
    [CMD_BENCH] =
        {"bench", "-m DIR [-md DIR] [options]", "Time the parts of a block on this machine.",
         "Times the prefill, a draft step, verifier passes of 1 to --rows rows, the accept step and whole blocks; "
         "prints microseconds (median and 99th percentile), GB/s of weights and cache moved, and their share of the "
         "copy bandwidth measured in the same run. Without a drafter the rows that need one are left out.",
         "weir bench -m models/demo/verifier -md models/demo/drafter --gamma 5"},
    [CMD_TUNE] =
        {"tune", "-m DIR -md DIR --out FILE.json [--max-quality-loss X] [--min-speedup X] [options] [DATA ...]",
         "Find a rule, its knob and gamma within a budget of quality or speed.",
         "DATA is a file of prompts (JSON lines with prompt, or text with a prompt a line), or what --task says. Both models run over some "
         "of the prompts once; a replay of all candidates tells which could be fast enough; those run on a few prompts, the better "
         "half on twice as many, and so on, the last five on all.\n"
         "Without references answers are compared with four of the verifier's own to the same prompt (chrF; one at temperature 0), and the "
         "loss is against what the verifier itself scores so.\n"
         "Prints the setting, its speed-up and loss with 95% intervals, in how many bootstrap replicates the budget is kept, and "
         "how many answers that took; writes them into the profile too. No profile is written where no setting keeps the "
         "budget. The search is bench/lab/tune.py and needs that folder's Python packages; -t, -np, --device and the like go to "
         "every run.",
         "weir tune -m models/demo/verifier -md models/demo/drafter --task translation --limit 200 --max-quality-loss 1 --out p.json\n"
         "weir generate -m models/demo/verifier -md models/demo/drafter --profile p.json -p 'It snowed a lot.'"},
};
