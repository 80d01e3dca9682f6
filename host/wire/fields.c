#include "host/wire/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/wire/object.h"

#define AT(member) offsetof(weir_session_options, member)

/* Settings stand in the order in which they are read and written: a rule brings its knobs, so it comes
 * before them. */
const wire_field wire_fields[WIRE_N_FIELD] = {
    [WIRE_METHOD] =
        {.name = "method",
         .type = WIRE_CHOICE,
         .at = AT(method),
         .words = "speculative|verifier|drafter|token-cascade|oracle-cascade|sequence-cascade",
         .absent = "speculative with a drafter, verifier without",
         .help = "How the two models share the work. speculative drafts, verifies in one pass and "
                 "accepts under the rule; verifier and drafter run alone; token-cascade lets the rule "
                 "look at the drafter only and calls the verifier at least every 11th token; "
                 "oracle-cascade runs both models at every token; sequence-cascade keeps the drafter's "
                 "whole answer unless its log-probability is below minus alpha.",
         .where = WIRE_ANSWER | WIRE_LINE | WIRE_ASK},
    [WIRE_DEFERRAL_RULE] = {.name = "deferral_rule",
                            .brief = "rule",
                            .type = WIRE_NAME,
                            .at = AT(law.rule),
                            .absent = "exact; chow under token-cascade, diff under oracle-cascade",
                            .help =
                                "Decides when the verifier's distribution replaces the drafter's; see RULES.",
                            .need = WIRE_IF_RULE,
                            .where = WIRE_GENERATE | WIRE_REPLAY | WIRE_PROFILE | WIRE_SHORT | WIRE_ASK},
    [WIRE_ALPHA] = {.name = "deferral_alpha",
                    .brief = "alpha",
                    .type = WIRE_NUMBER,
                    .at = AT(law.alpha),
                    .lo = -INFINITY,
                    .hi = INFINITY,
                    .absent = "the rule's default, see RULES",
                    .help =
                        "The rule's knob; each rule has its range. For most, a larger value defers less and "
                        "runs faster. Under sequence-cascade, the threshold in nats, at least 0.",
                    .need = WIRE_IF_KNOB,
                    .where = WIRE_GENERATE | WIRE_REPLAY | WIRE_PROFILE | WIRE_SHORT | WIRE_ASK},
    [WIRE_BETA] = {.name = "deferral_beta",
                   .brief = "beta",
                   .type = WIRE_NUMBER,
                   .at = AT(law.beta),
                   .lo = 0,
                   .hi = INFINITY,
                   .words = "auto",
                   .absent = "the rule's default, see RULES",
                   .help =
                       "The second knob of lossy and typical. For lossy, auto finds for each row the beta "
                       "that makes the masses match.",
                   .need = WIRE_IF_SECOND,
                   .where = WIRE_GENERATE | WIRE_REPLAY | WIRE_PROFILE | WIRE_SHORT | WIRE_ASK},
    [WIRE_GATE] =
        {.name = "gate",
         .type = WIRE_SWITCH,
         .at = AT(law.gate_scaled),
         .words = "raw|scaled",
         .preset = "raw",
         .help =
             "What the rule looks at: both models' softmax at temperature 1 (raw), or after temperature and "
             "truncation (scaled).",
         .need = WIRE_IF_RULE,
         .where = WIRE_REPLAY | WIRE_PROFILE | WIRE_SHORT | WIRE_ASK},
    [WIRE_EXACT_FIRST] = {.name = "exact_first",
                          .type = WIRE_INT,
                          .at = AT(law.exact_first),
                          .lo = 0,
                          .hi = INT32_MAX,
                          .unit = "tokens",
                          .preset = "0",
                          .help = "The first L tokens follow the verifier exactly, whatever the rule.",
                          .need = WIRE_IF_RULE,
                          .otherwise = WIRE_AS_ZERO,
                          .terse = true,
                          .where = WIRE_GENERATE | WIRE_REPLAY | WIRE_PROFILE | WIRE_LAW | WIRE_ANSWER |
                                   WIRE_LINE | WIRE_ASK},
    [WIRE_GAMMA] = {.name = "num_speculative_tokens",
                    .brief = "gamma",
                    .type = WIRE_INT,
                    .at = AT(n_draft),
                    .lo = 1,
                    .hi = WEIR_GAMMA_MAX,
                    .words = "auto",
                    .unit = "tokens",
                    .preset = "auto",
                    .help =
                        "Drafted tokens per block (gamma). auto chooses them block by block, up to 10, from "
                        "the answer so far and a table of costs (see --costs); the law is the same. It "
                        "stops drafting for good where that cannot pay.",
                    .need = WIRE_IF_BLOCKS,
                    .where = WIRE_GENERATE | WIRE_REPLAY | WIRE_PROFILE | WIRE_ANSWER | WIRE_LINE | WIRE_ASK},
    [WIRE_BONUS] = {.name = "bonus",
                    .type = WIRE_SWITCH,
                    .at = AT(law.bonus_pi),
                    .words = "verifier|pi",
                    .preset = "pi",
                    .help = "Source of the token after a fully accepted block: the rule's law (pi, one more "
                            "drafter step) or the verifier.",
                    .need = WIRE_IF_BLOCKS,
                    .where = WIRE_REPLAY | WIRE_PROFILE | WIRE_SHORT | WIRE_ASK},
    [WIRE_BLOCK_VERIFY] = {.name = "block_verify",
                           .type = WIRE_BOOL,
                           .at = AT(law.block_verify),
                           .absent = "off",
                           .help =
                               "Accept or reject a block as a whole. The law is the same; blocks get longer.",
                           .need = WIRE_IF_BLOCKS,
                           .otherwise = WIRE_AS_ZERO,
                           .terse = true,
                           .where = WIRE_ANSWER | WIRE_LINE | WIRE_ASK},
    [WIRE_MEASURE_REJECTION] =
        {.name = "measure_rejection",
         .type = WIRE_BOOL,
         .at = AT(law.measure_reject),
         .absent = "off",
         .help = "Report rejection_rate, the mean probability that a row rejects its draft, which takes one "
                 "more pass over both models' rows. Without it, it is null, except at temperature 0 and "
                 "under rules that need it themselves (opt, opt-log, lossy, typical, token-v3-exact-tail). "
                 "Tokens are the same.",
         .need = WIRE_IF_BLOCKS,
         .where = WIRE_GENERATE | WIRE_ASK},
    [WIRE_TEMPERATURE] = {.name = "temperature",
                          .line = "temp",
                          .type = WIRE_NUMBER,
                          .at = AT(law.temp),
                          .lo = 0,
                          .hi = 2,
                          .preset = "1",
                          .help = "Temperature of both models; 0 always takes the likeliest token.",
                          .where = WIRE_GENERATE | WIRE_SHORT | WIRE_ASK},
    [WIRE_TOP_K] = {.name = "top_k",
                    .type = WIRE_INT,
                    .at = AT(law.top_k),
                    .lo = 0,
                    .hi = INT32_MAX,
                    .http_lo = -1,
                    .http_hi = INT32_MAX,
                    .unit = "tokens",
                    .preset = "0",
                    .help = "Keep the K likeliest tokens (ties are kept) of both models; 0 keeps all.",
                    .terse = true,
                    .where = WIRE_GENERATE | WIRE_SHORT | WIRE_ASK},
    [WIRE_TOP_P] =
        {.name = "top_p",
         .type = WIRE_NUMBER,
         .at = AT(law.top_p),
         .lo = 0,
         .lo_open = true,
         .hi = 1,
         .http_lo = 0,
         .http_hi = 1,
         .preset = "1",
         .help = "Keep the smallest set of likeliest tokens whose probabilities sum to P, after top-k; "
                 "1 keeps all.",
         .terse = true,
         .where = WIRE_GENERATE | WIRE_SHORT | WIRE_ASK},
    [WIRE_MIN_P] = {.name = "min_p",
                    .type = WIRE_NUMBER,
                    .at = AT(law.min_p),
                    .lo = 0,
                    .hi = 1,
                    .preset = "0",
                    .help =
                        "Keep tokens that are at least P times as likely as the likeliest one; 0 keeps all.",
                    .terse = true,
                    .where = WIRE_GENERATE | WIRE_SHORT | WIRE_ASK},
    [WIRE_MAX_TOKENS] = {.name = "max_tokens",
                         .type = WIRE_INT,
                         .at = AT(max_tokens),
                         .lo = 1,
                         .hi = 1 << 20,
                         .http_lo = -1,
                         .http_hi = INT32_MAX,
                         .also = {"max_completion_tokens", "n_predict"},
                         .unit = "tokens",
                         .absent = "128, or the context if that is smaller; chat: the context",
                         .help =
                             "Maximum length of an answer, at most the context. End-of-text is not counted.",
                         .where = WIRE_GENERATE | WIRE_ANSWER | WIRE_ASK},
    [WIRE_SEED] = {.name = "seed",
                   .type = WIRE_UINT,
                   .at = AT(seed),
                   .lo = 0,
                   .hi = 18446744073709551615.0,
                   .http_lo = -1,
                   .http_hi = 9223372036854775807.0,
                   .preset = "0",
                   .help =
                       "The same seed, prompt and settings give the same tokens, with any number of sessions "
                       "or threads.",
                   .where = WIRE_GENERATE | WIRE_ANSWER | WIRE_LINE | WIRE_ASK},
    [WIRE_SEQ_CONFIDENCE] = {.name = "seq_confidence",
                             .type = WIRE_SWITCH,
                             .at = AT(seq_conf_sum),
                             .words = "mean|sum",
                             .preset = "mean",
                             .help = "Confidence of sequence-cascade: the mean or the sum of the drafter's "
                                     "log-probabilities.",
                             .need = WIRE_IF_SEQUENCE,
                             .otherwise = WIRE_LEFT_OUT,
                             .where = WIRE_ANSWER | WIRE_LINE | WIRE_ASK},
    [WIRE_IGNORE_EOS] = {.name = "ignore_eos",
                         .type = WIRE_BOOL,
                         .at = AT(ignore_eos),
                         .absent = "off",
                         .help = "Continue past end-of-text to the token limit (for timings).",
                         .where = WIRE_ASK},
    [WIRE_STOP] = {.name = "stop",
                   .type = WIRE_STRINGS,
                   .absent = "none",
                   .help = "End the answer before this string. At most 16 strings.",
                   .where = WIRE_GENERATE | WIRE_ASK},
    [WIRE_SPECULATIVE] = {.name = "speculative",
                          .type = WIRE_BOOL,
                          .absent = "true with a drafter",
                          .help = "false runs the verifier alone.",
                          .where = WIRE_GENERATE | WIRE_ASK},
    [WIRE_PROMPT] = {.name = "prompt",
                     .type = WIRE_STRING,
                     .absent = "none",
                     .help = "The prompt as text.",
                     .where = WIRE_GENERATE | WIRE_SCORE},
    [WIRE_PROMPT_IDS] = {.name = "prompt_ids",
                         .type = WIRE_IDS,
                         .absent = "none",
                         .help = "The prompt as ids, taken as they are, instead of prompt.",
                         .where = WIRE_GENERATE | WIRE_SCORE},
    [WIRE_MESSAGES] =
        {.name = "messages",
         .type = WIRE_LIST,
         .absent = "none",
         .help = "A conversation instead of a prompt: objects with role and content, written in the chat "
                 "template.",
         .where = WIRE_GENERATE | WIRE_CHAT | WIRE_TOKENIZE | WIRE_TEMPLATE},
    [WIRE_COMPLETION] = {.name = "completion",
                         .type = WIRE_STRING,
                         .absent = "none",
                         .help = "The text that is scored; nothing is added to it.",
                         .where = WIRE_SCORE},
    [WIRE_COMPLETION_IDS] = {.name = "completion_ids",
                             .type = WIRE_IDS,
                             .absent = "none",
                             .help = "The completion as ids, instead of completion.",
                             .where = WIRE_SCORE},
    [WIRE_WHOLE_TEXT] =
        {.name = "text",
         .type = WIRE_STRING,
         .absent = "none",
         .help = "A whole text instead of prompt and completion; decoder-only models score it from its "
                 "second token on.",
         .where = WIRE_SCORE},
    [WIRE_WHOLE_IDS] = {.name = "text_ids",
                        .type = WIRE_IDS,
                        .absent = "none",
                        .help = "The whole text as ids, instead of text.",
                        .where = WIRE_SCORE},
    [WIRE_PARSE_SPECIAL] = {.name = "parse_special",
                            .type = WIRE_BOOL,
                            .absent = "true, or false after --no-parse-special",
                            .help = "Whether the name of a special token in a prompt becomes that token.",
                            .where = WIRE_GENERATE | WIRE_SCORE | WIRE_COMPLETIONS | WIRE_TOKENIZE},
    [WIRE_Q_LOGITS] = {.name = "q_logits",
                       .type = WIRE_LOGITS,
                       .absent = "required",
                       .help = "The drafter's logits.",
                       .where = WIRE_RULE},
    [WIRE_P_LOGITS] = {.name = "p_logits",
                       .type = WIRE_LOGITS,
                       .absent = "required",
                       .help = "The verifier's logits, as many.",
                       .where = WIRE_RULE},
    [WIRE_MODEL] = {.name = "model",
                    .type = WIRE_STRING,
                    .absent = "the pair with the server's settings",
                    .help = "A name of /v1/models: the pair, or the pair with other settings.",
                    .where = WIRE_HTTP},
    [WIRE_PROMPTS] = {.name = "prompt",
                      .type = WIRE_TEXTS,
                      .absent = "required",
                      .help = "The prompt, or a list of at most 1024 prompts.",
                      .where = WIRE_COMPLETIONS},
    [WIRE_CONTENT] = {.name = "content",
                      .type = WIRE_STRING,
                      .absent = "none",
                      .help = "The text, to which nothing is added by default.",
                      .where = WIRE_TOKENIZE},
    [WIRE_TEXT_PROMPT] = {.name = "prompt",
                          .type = WIRE_STRING,
                          .absent = "none",
                          .help = "The text as a prompt, with what the checkpoint adds to one by default.",
                          .where = WIRE_TOKENIZE},
    [WIRE_TOKENS] = {.name = "tokens",
                     .type = WIRE_IDS,
                     .absent = "required",
                     .help = "The ids.",
                     .where = WIRE_DETOKENIZE},
    [WIRE_ADD_SPECIAL] = {.name = "add_special_tokens",
                          .also = {"add_special"},
                          .type = WIRE_BOOL,
                          .absent = "true for a prompt",
                          .help = "Whether a text gets what the checkpoint adds to a prompt.",
                          .where = WIRE_COMPLETIONS | WIRE_TOKENIZE},
    [WIRE_WITH_PIECES] = {.name = "with_pieces",
                          .type = WIRE_BOOL,
                          .absent = "false",
                          .help = "Write each token as an object with its piece.",
                          .where = WIRE_TOKENIZE},
    [WIRE_ADD_GENERATION_PROMPT] =
        {.name = "add_generation_prompt",
         .type = WIRE_BOOL,
         .absent = "false where the last message is the assistant's",
         .help = "true: begin another turn of the assistant instead of continuing its last message.",
         .where = WIRE_CHAT | WIRE_TOKENIZE | WIRE_TEMPLATE},
    [WIRE_CONTINUE_FINAL] = {.name = "continue_final_message",
                             .type = WIRE_BOOL,
                             .absent = "true where the last message is the assistant's",
                             .help = "Continue the last message, which is the assistant's.",
                             .where = WIRE_CHAT | WIRE_TOKENIZE | WIRE_TEMPLATE},
    [WIRE_N] = {.name = "n",
                .type = WIRE_INT,
                .lo = 1,
                .hi = 64,
                .preset = "1",
                .help = "Answers to each prompt: of one seed, with different choices.",
                .where = WIRE_ASK},
    [WIRE_STREAM] = {.name = "stream",
                     .type = WIRE_BOOL,
                     .absent = "false",
                     .help = "Send the answer in events as it is written.",
                     .where = WIRE_ASK},
    [WIRE_STREAM_OPTIONS] = {.name = "stream_options",
                             .type = WIRE_OBJECT,
                             .absent = "none",
                             .help = "include_usage: a last event with the counts; continuous_usage_stats: "
                                     "the counts so far in each event.",
                             .where = WIRE_ASK},
    [WIRE_LOGPROBS] = {.name = "logprobs",
                       .type = WIRE_INT,
                       .lo = 0,
                       .hi = WEIR_N_TOP_MAX,
                       .absent = "none",
                       .help = "Log-probabilities of the tokens, and of the N likeliest ones beside each.",
                       .where = WIRE_COMPLETIONS},
    [WIRE_CHAT_LOGPROBS] = {.name = "logprobs",
                            .type = WIRE_BOOL,
                            .absent = "false",
                            .help = "Log-probabilities of the tokens.",
                            .where = WIRE_CHAT},
    [WIRE_TOP_LOGPROBS] = {.name = "top_logprobs",
                           .type = WIRE_INT,
                           .lo = 0,
                           .hi = WEIR_N_TOP_MAX,
                           .preset = "0",
                           .help = "With logprobs, the likeliest tokens beside each one.",
                           .where = WIRE_CHAT},
    [WIRE_ECHO] = {.name = "echo",
                   .type = WIRE_BOOL,
                   .absent = "false",
                   .help = "Begin the answer with the prompt. Decoder-only models.",
                   .where = WIRE_COMPLETIONS},
    [WIRE_RETURN_IDS] = {.name = "return_token_ids",
                         .type = WIRE_BOOL,
                         .absent = "false",
                         .help = "Add the ids of the tokens.",
                         .where = WIRE_ASK},
    [WIRE_RETURN_SOURCES] = {.name = "return_sources",
                             .type = WIRE_BOOL,
                             .absent = "false",
                             .help =
                                 "Add who wrote each token, and its log-probability under the rule's law.",
                             .where = WIRE_ASK},
    [WIRE_PRIORITY] = {.name = "priority",
                       .type = WIRE_INT,
                       .lo = -8,
                       .hi = 8,
                       .preset = "0",
                       .help = "Requests of a lower number are served first.",
                       .where = WIRE_ASK},
    [WIRE_ANSWER_MS] = {.name = "t_max_predict_ms",
                        .type = WIRE_INT,
                        .lo = -1,
                        .hi = INT32_MAX,
                        .unit = "ms",
                        .preset = "0",
                        .help = "End the answer this long after its first token; 0 and -1 set no limit.",
                        .where = WIRE_ASK},
    [WIRE_CACHE_SALT] = {.name = "cache_salt",
                         .type = WIRE_STRING,
                         .absent = "none",
                         .help = "Prompts are shared in the cache only between requests of equal salt.",
                         .where = WIRE_ASK},
    [WIRE_REQUEST_ID] = {.name = "request_id",
                         .type = WIRE_STRING,
                         .absent = "made",
                         .help = "The request's name in headers and in the log: at most 128 visible "
                                 "characters.",
                         .where = WIRE_ASK},
};

const char *wire_name(const wire_field *f, unsigned where) {
    return f->brief && (where & WIRE_SHORT) ? f->brief : f->name;
}

wire_range wire_range_of(const wire_field *f, unsigned where) {
    if ((where & WIRE_HTTP) && f->http_lo < f->http_hi) return (wire_range){f->http_lo, f->http_hi, false};
    return (wire_range){f->lo, f->hi, f->lo_open};
}

bool wire_is_also(const wire_field *f, const char *name) {
    for (int i = 0; i < 2 && f->also[i]; i++)
        if (strcmp(f->also[i], name) == 0) return true;
    return false;
}

const wire_field *wire_find(unsigned where, const char *name) {
    for (int i = 0; i < WIRE_N_FIELD; i++) {
        const wire_field *f = &wire_fields[i];
        if (!(f->where & where)) continue;
        if (strcmp(wire_name(f, where), name) == 0) return f;
        if ((where & WIRE_HTTP) && wire_is_also(f, name)) return f;
    }
    return NULL;
}

const char *wire_word_at(const char *words, int index, int *n) {
    const char *p = words;
    for (; index > 0; index--) {
        p = strchr(p, '|');
        if (!p) return NULL;
        p++;
    }
    *n = (int)strcspn(p, "|");
    return p;
}

int wire_word_index(const char *words, const char *word) {
    const size_t len = strlen(word);
    const char *at;
    for (int i = 0, n; (at = wire_word_at(words, i, &n)); i++)
        if ((size_t)n == len && memcmp(at, word, len) == 0) return i;
    return -1;
}

static void words_text(const char *words, char *buf, size_t cap) {
    const char *at;
    size_t used = 0;
    for (int i = 0, n; (at = wire_word_at(words, i, &n)) && used < cap; i++)
        used += (size_t)snprintf(buf + used, cap - used, "%s\"%.*s\"", i ? " or " : "", n, at);
}

void wire_type_text(const wire_field *f, char *buf, size_t cap) {
    static const char *const plain[] = {
        [WIRE_BOOL] = "true or false",
        [WIRE_INT] = "whole number",
        [WIRE_UINT] = "whole number of 64 bits",
        [WIRE_NUMBER] = "number",
        [WIRE_NAME] = "name",
        [WIRE_STRING] = "string",
        [WIRE_STRINGS] = "string or list of strings",
        [WIRE_IDS] = "list of token ids",
        [WIRE_LOGITS] = "list of numbers",
        [WIRE_LIST] = "list of objects",
        [WIRE_TEXTS] = "string, list of token ids, or list of such",
        [WIRE_OBJECT] = "object",
    };
    char range[64] = "", word[64] = "";
    if (f->type == WIRE_SWITCH || f->type == WIRE_CHOICE) {
        words_text(f->words, buf, cap);
        return;
    }
    if (f->type == WIRE_INT || f->type == WIRE_NUMBER)
        wire_range_text(f->lo, f->hi, f->lo_open, range, sizeof range);
    if (f->words) words_text(f->words, word, sizeof word);
    snprintf(buf, cap, "%s%s%s%s%s", plain[f->type], range[0] ? ", " : "", range, word[0] ? ", or " : "",
             word);
}
