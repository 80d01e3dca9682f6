#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/safetensors/stacks.h"
#include "kernels/base/mem.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

/* Bits that are set: elements are moved and never rounded, so a stack has those of the file. */
static size_t ones(const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += (size_t)__builtin_popcount(p[i]);
    return sum;
}

static size_t bytes_of(const weir_tensor *t) {
    const int64_t n = t->n_outer > 0 ? t->outer[0] : 1;
    FUZZ_CHECK(t->n_outer <= 1 && n > 0 && t->rows > 0 && t->cols > 0);
    FUZZ_CHECK(t->cols % weir_dtype_block(t->dtype) == 0);
    return (size_t)(n * t->rows) * (weir_dtype_is_float(t->dtype)
                                        ? (size_t)t->cols * (size_t)weir_dtype_bytes(t->dtype)
                                        : (size_t)weir_dtype_row_bytes(t->dtype, t->cols));
}

/* A name that a model asks for: what passes the check has elements, which read no byte past the parts. *sum:
 * their bits. */
static bool take(const weir_safetensors *s, const char *name, size_t *sum) {
    weir_tensor t;
    weir_entry e;
    weir_err err = {""};
    if (weir__stack_check(s, name, "fuzz.safetensors", &err) != WEIR_OK) {
        FUZZ_CHECK(err_is_line(&err, "fuzz.safetensors"));
        FUZZ_CHECK(!weir__stack_tensor(s, name, &t) && !weir__stack_key(s, name));
        FUZZ_CHECK(!weir__stack_elements(s, name));
        return false;
    }
    FUZZ_CHECK(weir__stack_find(s, name, &e) && weir__stack_tensor(s, name, &t) && !t.data);
    void *elements = weir__stack_elements(s, name);
    const size_t bytes = bytes_of(&t);
    FUZZ_CHECK(elements);
    *sum += ones(elements, bytes);
    weir_free(elements);
    weir__stack_release(s, name);
    return true;
}

/* Gate and up are of one tensor, each with a key of its own. */
static void check_part(const weir_safetensors *s, const weir_entry *e) {
    char name[WEIR__ENTRY_NAME_CAP], up[WEIR__ENTRY_NAME_CAP];
    static const char scales[] = "_scales", blocks[] = "_blocks";
    weir_entry beside;
    size_t got = 0, want = ones(e->data, e->bytes);
    if (!weir__stack_name(e->name, name)) return;
    bool whole = take(s, name, &got);
    for (int bias = 0; bias < 2; bias++)
        if (weir__entry_renamed(name, bias ? ".gate_proj.bias" : ".gate_proj.weight",
                                bias ? ".up_proj.bias" : ".up_proj.weight", up)) {
            FUZZ_CHECK(take(s, up, &got) == whole);
            FUZZ_CHECK(!whole || weir__stack_key(s, up) != weir__stack_key(s, name));
        }
    if (!whole || weir__entry_renamed(e->name, scales, blocks, up)) return;
    if (weir__entry_renamed(e->name, blocks, scales, up)) {
        FUZZ_CHECK(weir__safetensors_find(s, up, &beside));
        want += ones(beside.data, beside.bytes);
    }
    FUZZ_CHECK(got == want);
}

FUZZ_TARGET(stacks) {
    weir_safetensors *s = NULL;
    weir_err err = {""};
    if (weir__safetensors_open_bytes(&s, data, n, "fuzz.safetensors", &err) == WEIR_OK)
        for (size_t i = 0; i < weir__safetensors_count(s); i++) {
            weir_entry e;
            weir__safetensors_at(s, i, &e);
            check_part(s, &e);
        }
    weir__safetensors_close(s);
    return 0;
}
