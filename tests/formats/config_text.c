#include "tests/formats/config_text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/config/config.h"
#include "tests/support/files.h"

weir_status parse(const char *json, size_t n, weir_checkpoint *c, weir_err *err) {
    char *exact = (char *)files_exact(json, n);
    err->text[0] = '\0';
    const weir_status s = weir__config_parse(exact, n, "config.json", c, err);
    free(exact);
    return s;
}

weir_checkpoint good(const char *json) {
    weir_checkpoint c = {0};
    weir_err err;
    cr_assert_eq(parse(json, strlen(json), &c, &err), WEIR_OK, "%s: %s", json, err.text);
    cr_assert_neq(c.kind, WEIR_FAMILY_T5);
    return c;
}

void bad(const char *json, weir_status want, const char *part) {
    weir_checkpoint c = {0};
    weir_err err;
    cr_assert_eq(parse(json, strlen(json), &c, &err), want, "%s: %s", json, err.text);
    cr_assert(err_is_line(&err, part) && strstr(err.text, "config.json: "), "%s: want \"%s\", got: %s", json,
              part, err.text);
    cr_assert(c.kind == WEIR_FAMILY_T5 && c.decoder.dim == 0, "%s: the checkpoint was touched", json);
}

void every_prefix(const char *whole) {
    const size_t n = strlen(whole);
    for (size_t i = 0; i <= n; i++) {
        weir_checkpoint c = {0};
        weir_err err;
        const weir_status s = parse(whole, i, &c, &err);
        cr_assert_eq(s, i == n ? WEIR_OK : WEIR_EFORMAT, "%zu bytes: %s", i, err.text);
        if (s != WEIR_OK) cr_assert(err_is_line(&err, "config.json"));
    }
}

int count_sliding(const weir_decoder_config *d) {
    int n = 0;
    for (int i = 0; i < d->n_layer; i++) n += d->sliding[i];
    return n;
}
