#include "host/cli/profile.h"

#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/json.h"

enum { N_FIELD = 7, MAX_TEXT = 64 };

static const struct {
    const char *name;
    cli_option_id id;
    bool knob; /* of the rule */
} fields[N_FIELD] = {
    {"deferral_rule", OPT_RULE, false},
    {"deferral_alpha", OPT_ALPHA, true},
    {"deferral_beta", OPT_BETA, true},
    {"num_speculative_tokens", OPT_DRAFT_N_MAX, false},
    {"exact_first", OPT_EXACT_FIRST, false},
    {"gate", OPT_GATE, false},
    {"bonus", OPT_BONUS, false},
};

/* The value as it would be written on the command line; options borrow it for the life of the program. */
static const char *word_of(const json_t *v, int i) {
    static char text[N_FIELD][MAX_TEXT];
    if (json_is_string(v))
        snprintf(text[i], MAX_TEXT, "%s", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(text[i], MAX_TEXT, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(text[i], MAX_TEXT, "%.17g", json_real_value(v));
    else
        return NULL;
    return text[i];
}

static int check_fields(const cli_line *l) {
    static const char *const known[N_FIELD + 2] = {
        "deferral_rule", "deferral_alpha", "deferral_beta", "num_speculative_tokens", "exact_first", "gate",
        "bonus",         "weir_profile",   "about"};
    if (json_integer_value(json_object_get(l->object, "weir_profile")) != 1)
        return cli_line_fail(l, "weir_profile", "expected 1; is this a profile?");
    return cli_line_known(l, known, N_FIELD + 2);
}

/* Its --deferral-alpha is a threshold in nats, which no rule's alpha stands for. */
static bool is_sequence_cascade(const cli_args *a) {
    return cli_is_set(a, OPT_METHOD) &&
           weir_method_parse(cli_text(a, OPT_METHOD)) == WEIR_METHOD_SEQUENCE_CASCADE;
}

static int apply(cli_args *a, const cli_line *l) {
    int rc = check_fields(l);
    const bool own_knobs = a->value[OPT_RULE].from > CLI_FROM_PRESET || is_sequence_cascade(a);
    for (int i = 0; i < N_FIELD && !rc; i++) {
        const json_t *v = json_object_get(l->object, fields[i].name);
        if (!v || json_is_null(v) || (fields[i].knob && own_knobs)) continue;
        const char *word = word_of(v, i);
        char label[MAX_TEXT + 300];
        snprintf(label, sizeof label, "%.250s: \"%s\"", l->name, fields[i].name);
        rc = word ? cli_set_preset(a, fields[i].id, label, word)
                  : cli_line_fail(l, fields[i].name, "expected a number or a word");
    }
    return rc ? CLI_FAILED : CLI_OK;
}

int cli_profile_apply(cli_args *a, const char *path) {
    cli_reader r;
    if (cli_reader_open(&r, path)) return CLI_FAILED;
    const char *text = NULL;
    size_t n = 0;
    const cli_read got = cli_reader_rest(&r, &text, &n);
    int rc = got == CLI_READ_LINE ? CLI_OK : CLI_FAILED;
    cli_line l = {.object = NULL};
    if (!rc) rc = cli_line_parse(&l, path, 1, text, n);
    if (!rc) rc = apply(a, &l);
    cli_line_free(&l);
    cli_reader_close(&r);
    return rc;
}
