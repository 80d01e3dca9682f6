#include "host/cli/law.h"

#include <math.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/request.h"

int cli_line_word(const cli_line *l, const char *key, const char *zero, const char *one, bool *out) {
    const char *word = NULL;
    size_t n = 0;
    bool seen = false;
    int rc = cli_line_text(l, key, &word, &n, &seen);
    if (rc || !seen) return rc;
    bool is_one = strcmp(word, one) == 0;
    if (!is_one && strcmp(word, zero) != 0)
        return cli_line_fail(l, key, "expected \"%s\" or \"%s\"", zero, one);
    *out = is_one;
    return CLI_OK;
}

/* Knobs that a rule lacks are left out, so that reading finds what writing had. */
json_t *cli_law_json(const weir_law *law) {
    const weir_rule_info *rule = weir_rule_facts((weir_rule)law->rule);
    json_t *t = json_object();
    cli_json_set(t, "rule", json_string(rule->name));
    if (law->rule != WEIR_RULE_EXACT) cli_json_set(t, "alpha", cli_json_knob(law->alpha));
    if (isfinite(rule->beta_default))
        cli_json_set(t, "beta", isnan(law->beta) ? json_string("auto") : cli_json_knob(law->beta));
    cli_json_set(t, "gate", json_string(law->gate_scaled ? "scaled" : "raw"));
    cli_json_set(t, "bonus", json_string(law->bonus_pi ? "pi" : "verifier"));
    cli_json_set(t, "exact_first", json_integer(law->exact_first));
    cli_json_set(t, "temperature", cli_json_knob(law->temp));
    cli_json_set(t, "top_k", json_integer(law->top_k));
    cli_json_set(t, "top_p", cli_json_knob(law->top_p));
    cli_json_set(t, "min_p", cli_json_knob(law->min_p));
    return t;
}

int cli_law_read(const cli_line *l, weir_law *law) {
    int64_t top_k = law->top_k, first = law->exact_first;
    int rc = cli_line_rule(l, "rule", "alpha", "beta", law, NULL);
    if (!rc) rc = cli_line_word(l, "gate", "raw", "scaled", &law->gate_scaled);
    if (!rc) rc = cli_line_word(l, "bonus", "verifier", "pi", &law->bonus_pi);
    if (!rc) rc = cli_line_int(l, "exact_first", 0, INT32_MAX, &first, NULL);
    if (!rc) rc = cli_line_float(l, "temperature", &law->temp, NULL);
    if (!rc) rc = cli_line_int(l, "top_k", 0, INT32_MAX, &top_k, NULL);
    if (!rc) rc = cli_line_float(l, "top_p", &law->top_p, NULL);
    if (!rc) rc = cli_line_float(l, "min_p", &law->min_p, NULL);
    if (rc) return rc;
    law->exact_first = (int32_t)first;
    law->top_k = (int32_t)top_k;
    weir_err err = {{0}};
    if (weir_law_check(law, &err) == WEIR_OK) return CLI_OK;
    return cli_fail(CLI_FAILED, "%s:%ld: %s", l->name, l->number, err.text);
}
