#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/json.h"
#include "host/wire/settings.h"
#include "tests/fuzz/target.h"

/* Every setting that was read is in its field's range, whatever was sent. */
static void check_settings(const weir_session_options *o) {
    for (int i = 0; i < WIRE_N_SETTING; i++) {
        const wire_field *f = &wire_fields[i];
        const double x = wire_get(f, o);
        if (f->type == WIRE_NUMBER)
            FUZZ_CHECK(isnan(x) ? f->words != NULL : wire_in_range(f->lo, f->hi, f->lo_open, x));
        if (f->type == WIRE_INT) FUZZ_CHECK(x >= f->lo && x <= f->hi);
    }
    FUZZ_CHECK(weir_rule_facts((weir_rule)o->law.rule) != NULL);
}

/* The lists of other lines: ids and logits. */
static void read_lists(wire_object *in) {
    weir_err err = {""};
    int32_t *ids = NULL;
    float *x = NULL;
    size_t n = 0, m = 0;
    if (wire_read_ids(in, "prompt_ids", &ids, &n, NULL, &err) == WEIR_OK)
        for (size_t i = 0; ids && i < n; i++) FUZZ_CHECK(ids[i] >= 0);
    if (wire_read_floats(in, "q_logits", &x, &m, NULL, &err) == WEIR_OK)
        for (size_t i = 0; x && i < m; i++) FUZZ_CHECK(isfinite(x[i]));
    weir_free(ids);
    weir_free(x);
}

/* What was read is written, and a law that was written is read as it was. */
static void write_back(const weir_session_options *o) {
    wire_buf b = {0};
    weir_err err = {""};
    FUZZ_CHECK(wire_write(wire_law_json(&o->law), &b));
    weir_session_options again = {.law = {.temp = 1, .top_p = 1, .bonus_pi = true}};
    wire_set_rule(&again.law, (weir_rule)o->law.rule);
    wire_object in;
    FUZZ_CHECK(wire_object_parse(&in, b.data, b.len, &err) == WEIR_OK);
    FUZZ_CHECK(wire_read_settings(&in, WIRE_LAW, NULL, &again, &err) == WEIR_OK);
    FUZZ_CHECK(again.law.rule == o->law.rule && again.law.top_k == o->law.top_k);
    wire_object_free(&in);
    wire_buf_free(&b);
    char line[300];
    wire_settings_text(o, line, sizeof line);
    FUZZ_CHECK(strlen(line) < sizeof line);
}

/* The first byte chooses whose line it is. */
FUZZ_TARGET(request) {
    static const unsigned kinds[] = {WIRE_GENERATE, WIRE_REPLAY, WIRE_RULE, WIRE_LAW};
    if (n == 0) return 0;
    const unsigned where = kinds[data[0] % 4];
    weir_session_options o = {
        .law = {.temp = 1, .top_p = 1, .bonus_pi = true}, .n_draft = 5, .max_tokens = 128};
    wire_set_rule(&o.law, WEIR_RULE_EXACT);
    wire_object in;
    weir_err err = {""};
    weir_status st = wire_object_parse(&in, (const char *)data + 1, n - 1, &err);
    if (st == WEIR_OK) read_lists(&in);
    if (st == WEIR_OK) st = wire_check_known(&in, where, &err);
    if (st == WEIR_OK) st = wire_read_settings(&in, where, &(wire_limits){.max_tokens = 512}, &o, &err);
    FUZZ_CHECK((st == WEIR_OK) == (err.text[0] == '\0') && !strchr(err.text, '\n'));
    FUZZ_CHECK(st != WEIR_EINVAL || (in.failed && err.text[0] == '"'));
    check_settings(&o);
    if (st == WEIR_OK) write_back(&o);
    wire_object_free(&in);
    return 0;
}
