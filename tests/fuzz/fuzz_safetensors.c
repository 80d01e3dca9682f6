#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/safetensors/int4.h"
#include "host/formats/safetensors/safetensors.h"
#include "kernels/base/mem.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

/* The tensors tile the data: sorted by name, inside the bytes, sizes as shapes say, no byte twice. */
static void check_tensors(const weir_safetensors *s, const uint8_t *data, size_t n) {
    size_t total = 0;
    char last[256] = "";
    for (size_t i = 0; i < weir__safetensors_count(s); i++) {
        weir_entry e, found;
        weir__safetensors_at(s, i, &e);
        FUZZ_CHECK(e.n_dim >= 0 && e.n_dim <= 8);
        for (int d = 0; d < e.n_dim; d++) FUZZ_CHECK(e.shape[d] >= 0);
        FUZZ_CHECK((const uint8_t *)e.data >= data && (const uint8_t *)e.data + e.bytes <= data + n);
        FUZZ_CHECK(weir__safetensors_find(s, e.name, &found) && found.data == e.data &&
                   found.bytes == e.bytes);
        FUZZ_CHECK(i == 0 || strncmp(last, e.name, sizeof last - 1) <= 0);
        snprintf(last, sizeof last, "%s", e.name);
        weir__safetensors_release(s, e.name);
        total += e.bytes;
    }
    FUZZ_CHECK(total <= n);
}

/* Every input once. */
static void check_order(const int32_t *order, int64_t n) {
    uint8_t *seen = calloc((size_t)n, 1);
    FUZZ_CHECK(seen != NULL);
    for (int64_t j = 0; j < n; j++) FUZZ_CHECK(order[j] >= 0 && order[j] < n && !seen[order[j]]++);
    free(seen);
}

/* Whatever passes the check of a form can be packed, and reads no byte past its tensors. */
static void check_codes(const weir_safetensors *s, const weir_entry *e, weir_int4 c) {
    weir_tensor t;
    weir_err err = {""};
    int32_t *order;
    if (!weir__is_int4(c, e)) return;
    if (weir__int4_check(s, c, e, "fuzz.safetensors", &order, &err) != WEIR_OK) {
        FUZZ_CHECK(!order && err_is_line(&err, "fuzz.safetensors"));
        return;
    }
    FUZZ_CHECK(weir__int4_tensor(s, c, e, order, &t) && t.rows > 0 && t.cols > 0 && t.cols % 32 == 0);
    void *blocks = weir__int4_pack(s, c, e, order);
    FUZZ_CHECK(blocks != NULL);
    if (order) check_order(order, t.cols);
    weir_free(blocks);
    weir_free(order);
}

static void check_int4(const weir_safetensors *s) {
    for (size_t i = 0; i < weir__safetensors_count(s); i++) {
        weir_entry e;
        weir__safetensors_at(s, i, &e);
        for (int form = WEIR_INT4_GPTQ; form <= WEIR_INT4_MXFP4; form++) {
            check_codes(s, &e, (weir_int4){(weir_int4_form)form, 32});
            check_codes(s, &e, (weir_int4){(weir_int4_form)form, 0});
        }
    }
}

FUZZ_TARGET(safetensors) {
    weir_safetensors *s = NULL;
    weir_err err = {""};
    weir_status st = weir__safetensors_open_bytes(&s, data, n, "fuzz.safetensors", &err);
    if (st == WEIR_OK)
        check_tensors(s, data, n), check_int4(s);
    else
        FUZZ_CHECK(s == NULL && err_is_line(&err, "fuzz.safetensors"));
    weir__safetensors_close(s);
    return 0;
}
