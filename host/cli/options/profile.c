#include "host/cli/options/profile.h"

#include <stdio.h>
#include <string.h>

#include "host/cli/io/message.h"
#include "host/cli/io/reader.h"
#include "host/wire/fields.h"
#include "host/wire/object.h"

enum { MAX_TEXT = 64 };

/* The value as it would be written on the command line; options borrow it for the life of the program. */
static const char *word_of(const json_t *v, int i) {
    static char text[WIRE_N_SETTING][MAX_TEXT];
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

static weir_status check_fields(wire_object *in, weir_err *err) {
    const char *key;
    json_t *value;
    if (json_integer_value(json_object_get(in->json, "weir_profile")) != 1)
        return wire_object_fail(in, "weir_profile", err, "expected 1; is this a profile?");
    json_object_foreach(in->json, key, value) {
        const bool head = strcmp(key, "weir_profile") == 0 || strcmp(key, "about") == 0;
        if (!head && !wire_find(WIRE_PROFILE, key)) return wire_object_fail(in, key, err, "unknown field");
    }
    return WEIR_OK;
}

/* Its --deferral-alpha is a threshold in nats; a rule's alpha means something else. */
static bool is_sequence_cascade(const cli_args *a) {
    return cli_is_set(a, OPT_METHOD) &&
           weir_method_parse(cli_text(a, OPT_METHOD)) == WEIR_METHOD_SEQUENCE_CASCADE;
}

static int apply(cli_args *a, const cli_reader *r, wire_object *in) {
    weir_err err = {{0}};
    weir_status st = check_fields(in, &err);
    int rc = CLI_OK;
    const bool own_knobs = a->value[OPT_RULE].from > CLI_FROM_PRESET || is_sequence_cascade(a);
    for (int i = 0; i < OPT_COUNT && st == WEIR_OK && !rc; i++) {
        const wire_field *f = cli_option_row(i)->field;
        const json_t *v = f && (f->where & WIRE_PROFILE) ? json_object_get(in->json, f->name) : NULL;
        const bool knob = i == OPT_ALPHA || i == OPT_BETA;
        if (!v || json_is_null(v) || (knob && own_knobs)) continue;
        const char *word = word_of(v, (int)(f - wire_fields));
        char label[MAX_TEXT + 300];
        snprintf(label, sizeof label, "%.250s: \"%s\"", r->name, f->name);
        if (word)
            rc = cli_set_preset(a, (cli_option_id)i, label, word);
        else
            st = wire_object_fail(in, f->name, &err, "expected a number or a word");
    }
    if (st != WEIR_OK) return cli_fail(CLI_FAILED, "%s: %s", r->name, err.text);
    return rc ? CLI_FAILED : CLI_OK;
}

int cli_profile_apply(cli_args *a, const char *path) {
    cli_reader r;
    if (cli_reader_open(&r, path)) return CLI_FAILED;
    const char *text = NULL;
    size_t n = 0;
    const cli_read got = cli_reader_rest(&r, &text, &n);
    int rc = got == CLI_READ_LINE ? CLI_OK : CLI_FAILED;
    wire_object in = {.json = NULL};
    weir_err err = {{0}};
    if (!rc && wire_object_parse(&in, text, n, &err) != WEIR_OK)
        rc = cli_fail(CLI_FAILED, "%s: %s", path, err.text);
    if (!rc) rc = apply(a, &r, &in);
    wire_object_free(&in);
    cli_reader_close(&r);
    return rc;
}
