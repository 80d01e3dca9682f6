/* Words for methods, ends and sources, as command line and answers spell them. */
#include <string.h>

#include "host/weir.h"

static const char *const method_names[] = {"speculative",   "verifier",       "drafter",
                                           "token-cascade", "oracle-cascade", "sequence-cascade"};
static const char *const finish_names[] = {"running", "stop", "length", "cancelled"};
static const char *const ended_names[] = {"not", "eos", "stop", "limit", "context", "cancelled"};
static const char *const source_names[] = {"kept", "accepted", "resampled", "bonus", "drafter", "verifier"};

static const char *name_at(const char *const *names, size_t n, int i) {
    return i >= 0 && (size_t)i < n ? names[i] : "unknown";
}

const char *weir_method_name(weir_method m) {
    return name_at(method_names, sizeof method_names / sizeof *method_names, (int)m);
}
const char *weir_finish_name(weir_finish f) {
    return name_at(finish_names, sizeof finish_names / sizeof *finish_names, (int)f);
}
const char *weir_ended_name(weir_ended w) {
    return name_at(ended_names, sizeof ended_names / sizeof *ended_names, (int)w);
}
const char *weir_source_name(int source) {
    return name_at(source_names, sizeof source_names / sizeof *source_names, source);
}
int weir_method_parse(const char *name) {
    for (size_t i = 0; i < sizeof method_names / sizeof *method_names; i++)
        if (strcmp(name, method_names[i]) == 0) return (int)i;
    return -1;
}
