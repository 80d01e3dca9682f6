/* Fields that OpenAI's API, vLLM and llama.cpp know and weir does not: many clients always send them. */
#include <string.h>

#include "host/serve/api/body.h"
#include "host/wire/nearest.h"

/* What asks for nothing: JSON values, separated by |. NULL: any value, since it cannot change the text. */
typedef struct other {
    const char *name, *accepted;
    unsigned where;
} other;

static const other others[] = {
    {"frequency_penalty", "0", WIRE_ASK},
    {"presence_penalty", "0", WIRE_ASK},
    {"repetition_penalty", "1", WIRE_ASK},
    {"repeat_penalty", "1", WIRE_ASK},
    {"length_penalty", "1", WIRE_ASK},
    {"typical_p", "1", WIRE_ASK},
    {"mirostat", "0", WIRE_ASK},
    {"logit_bias", "{}|[]", WIRE_ASK},
    {"best_of", "1|n", WIRE_ASK},
    {"suffix", "\"\"", WIRE_ASK},
    {"min_tokens", "0", WIRE_ASK},
    {"stop_token_ids", "[]", WIRE_ASK},
    {"bad_words", "[]", WIRE_ASK},
    {"include_stop_str_in_output", "false", WIRE_ASK},
    {"skip_special_tokens", "true", WIRE_ASK},
    {"tools", "[]", WIRE_ASK},
    {"tool_choice", "\"none\"|\"auto\"", WIRE_ASK},
    {"functions", "[]", WIRE_ASK},
    {"function_call", "\"none\"|\"auto\"", WIRE_ASK},
    {"response_format", "{\"type\":\"text\"}", WIRE_ASK},
    {"grammar", "\"\"", WIRE_ASK},
    {"json_schema", "null", WIRE_ASK},
    {"guided_json", "null", WIRE_ASK},
    {"guided_regex", "null", WIRE_ASK},
    {"guided_choice", "null", WIRE_ASK},
    {"guided_grammar", "null", WIRE_ASK},
    {"structured_outputs", "null", WIRE_ASK},
    {"use_beam_search", "false", WIRE_ASK},
    {"prompt_logprobs", "null", WIRE_ASK},
    {"truncate_prompt_tokens", "null", WIRE_ASK},
    {"allowed_token_ids", "null", WIRE_ASK},
    {"logits_processors", "null|[]", WIRE_ASK},
    {"modalities", "[\"text\"]", WIRE_ASK},
    {"audio", "null", WIRE_ASK},
    {"prediction", "null", WIRE_ASK},
    {"web_search_options", "null", WIRE_ASK},
    {"chat_template", "null", WIRE_CHAT | WIRE_TOKENIZE | WIRE_TEMPLATE},
    {"chat_template_kwargs", "{}", WIRE_CHAT | WIRE_TOKENIZE | WIRE_TEMPLATE},
    /* fields of the other endpoint */
    {"echo", "false", WIRE_CHAT},
    {"parse_special", "false", WIRE_CHAT},
    {"add_special_tokens", "false", WIRE_CHAT},
    {"top_logprobs", "0", WIRE_COMPLETIONS},
    /* by nature */
    {"user", NULL, WIRE_HTTP},
    {"metadata", NULL, WIRE_ASK},
    {"store", NULL, WIRE_ASK},
    {"service_tier", NULL, WIRE_ASK},
    {"safety_identifier", NULL, WIRE_ASK},
    {"prompt_cache_key", NULL, WIRE_ASK},
    {"parallel_tool_calls", NULL, WIRE_ASK},
    {"reasoning_effort", NULL, WIRE_ASK},
};

enum { N_OTHER = sizeof others / sizeof *others };

static bool equal(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static api_other check_word(const json_t *value, const json_t *whole, const char *word, int n) {
    if (n == 1 && word[0] == 'n')
        return equal(value, json_object_get(whole, "n")) ? API_NEUTRAL : API_REFUSED;
    json_t *v = json_loadb(word, (size_t)n, JSON_DECODE_ANY, NULL);
    if (!v) return API_NO_MEMORY; /* it is JSON */
    const bool same = equal(value, v);
    json_decref(v);
    return same ? API_NEUTRAL : API_REFUSED;
}

api_other api_other_field(unsigned where, const char *name, const json_t *value, const json_t *whole,
                          const char **accepted) {
    const other *o = NULL;
    for (int i = 0; i < N_OTHER && !o; i++)
        if ((others[i].where & where) && strcmp(others[i].name, name) == 0) o = &others[i];
    if (!o) return API_UNKNOWN;
    if (!o->accepted) return API_NEUTRAL;
    *accepted = o->accepted;
    api_other got = API_REFUSED;
    const char *word;
    for (int k = 0, n; got == API_REFUSED && (word = wire_word_at(o->accepted, k, &n)); k++)
        got = check_word(value, whole, word, n);
    return got;
}

static void try_name(wire_nearest *n, const char *name, bool any) {
    const size_t a = strlen(n->word), b = name ? strlen(name) : 0;
    const size_t apart = a > b ? a - b : b - a;
    /* Two letters make any name of one that is as short. */
    if (b > 2 && (any || apart <= 2)) wire_nearest_try(n, name);
}

const char *api_near_field(unsigned where, const char *name) {
    static const char ours[] = "deferral_";
    const bool any = strncmp(name, ours, sizeof ours - 1) == 0;
    wire_nearest n = {.word = name};
    for (int i = 0; i < WIRE_N_FIELD; i++) {
        const wire_field *f = &wire_fields[i];
        if (!(f->where & where)) continue;
        try_name(&n, wire_name(f, where), any);
        for (int k = 0; k < 2; k++) try_name(&n, f->also[k], any);
    }
    for (int i = 0; i < N_OTHER; i++)
        if (others[i].where & where) try_name(&n, others[i].name, any);
    return n.best && (any || n.distance <= 2) ? n.best : NULL;
}
