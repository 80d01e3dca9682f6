#include "tests/models/fake.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/quant.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

fake *fake_make(const fake_kind *kind, weir_dtype dtype) {
    fake *k = calloc(1, sizeof *k);
    k->kind = kind;
    k->dtype = dtype;
    k->other = WEIR_DTYPE_F16;
    return k;
}

fake *fake_like(const fake *k) {
    fake *to = malloc(sizeof *to);
    *to = *k;
    to->n = 0;
    to->n_released = to->n_found = to->n_made = 0;
    return to;
}

void fake_free(fake *k) {
    for (int i = 0; i < k->n; i++) free(k->data[i]);
    free(k);
}

/* They are bf16. */
static void fill_floats(void *to, weir_dtype dtype, int64_t n, uint64_t *seed) {
    float *d = to;
    uint16_t *h = to; /* element i is read before it is written */
    for (int64_t i = 0; i < n; i++) {
        const uint16_t b = weir_bf16_from_f32(rng_uniform(seed, -0.3f, 0.3f));
        if (dtype == WEIR_DTYPE_BF16)
            h[i] = b;
        else
            d[i] = weir_f32_from_bf16(b);
    }
}

void *fake_data(fake *k, const char *name, weir_dtype dtype, int64_t n) {
    for (int i = 0; i < k->n; i++) {
        if (strcmp(k->name[i], name) == 0) return k->data[i];
    }
    cr_assert(k->n < 256);
    uint64_t seed = 14695981039346656037u;
    for (const char *p = name; *p; p++) seed = (seed ^ (unsigned char)*p) * 1099511628211u;
    float *d = malloc((size_t)(n + WEIR_QUANT_BLOCK) * sizeof *d); /* all but f32 use its first part */
    if (weir_dtype_is_float(dtype))
        fill_floats(d, dtype, n, &seed);
    else
        blocks_random(dtype, d, n, 0.3f, &seed);
    snprintf(k->name[k->n], sizeof k->name[0], "%s", name);
    return k->data[k->n++] = d;
}

/* "*" and the end of a name chooses several. */
static bool is(const char *chosen, const char *name) {
    if (!chosen || *chosen != '*') return chosen && strcmp(chosen, name) == 0;
    const size_t n = strlen(name), end = strlen(chosen + 1);
    return n >= end && strcmp(name + n - end, chosen + 1) == 0;
}

/* With its elements. */
static bool find_all(fake *k, const char *name, weir_tensor *out) {
    int64_t rows, cols;
    if (!k->kind->shape_of(k, name, &rows, &cols) || is(k->hidden, name)) return false;
    const weir_dtype usual = rows > 1 || weir_dtype_is_float(k->dtype) ? k->dtype : WEIR_DTYPE_F32;
    const weir_dtype dtype = is(k->redtyped, name) ? k->other : usual;
    const bool all = k->decoder.experts.names == WEIR_EXPERTS_STACKED && strstr(name, ".experts.");
    const int64_t n = all ? k->decoder.experts.n : 1;
    *out = (weir_tensor){fake_data(k, name, dtype, n * (rows + 1) * (cols + 1)), dtype, rows, cols};
    if (all) out->n_outer = 1, out->outer[0] = n;
    if (is("rope_freqs.weight", name)) out->data = k->rope_freqs, out->dtype = WEIR_DTYPE_F32;
    if (is(k->reshaped, name)) out->cols++;
    if (is(k->stacked, name)) out->n_outer = 1, out->outer[0] = 1;
    return true;
}

static bool find(void *ud, const char *name, weir_tensor *out) {
    fake *k = ud;
    if (!find_all(k, name, out)) return false;
    if (k->packed && strstr(name, ".experts.")) out->data = NULL;
    k->n_found++;
    return true;
}

static const void *make(void *ud, const char *name) {
    fake *k = ud;
    weir_tensor t;
    k->n_made++;
    return find_all(k, name, &t) ? t.data : NULL;
}

static void release(void *ud, const char *name) {
    (void)name;
    ((fake *)ud)->n_released++;
}

weir_tensor_source fake_source(fake *k) {
    return (weir_tensor_source){.find = find, .release = release, .data = make, .ud = k};
}

weir_status fake_create(fake *k, weir_backend *be, weir_model **m, weir_err *err) {
    const weir_tensor_source src = fake_source(k);
    return k->kind->create(m, be, k, &src, err);
}

weir_backend *fake_backend(int n_thread) {
    weir_backend *be = NULL;
    cr_assert_eq(weir__backend_cpu_open(&be, n_thread, WEIR_ISA_PORTABLE, NULL), WEIR_OK);
    return be;
}

static void break_tensor(const fake *like, weir_backend *be, const char *name, int how, weir_err *err) {
    fake *k = fake_like(like);
    weir_model *m = NULL;
    *(how == 0 ? &k->hidden : how == 1 ? &k->reshaped : &k->stacked) = name;
    err->text[0] = 0;
    cr_expect_eq(fake_create(k, be, &m, err), WEIR_EFORMAT, "%s", name);
    cr_expect_null(m);
    cr_expect(strstr(err->text, name), "'%s' does not name %s", err->text, name);
    cr_expect(strstr(err->text, "want ("), "%s", err->text);
    cr_expect(how == 0 || strstr(err->text, how == 1 ? "file has (" : "file has (1, "), "%s", err->text);
    fake_free(k);
}

void fake_break_each_tensor(const fake *like, int n_want) {
    fake *whole = fake_like(like);
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    weir_err err = {""};
    cr_assert_eq(fake_create(whole, be, &m, &err), WEIR_OK, "%s", err.text);
    weir__model_free(m);
    cr_assert_eq(whole->n, n_want);
    for (int i = 0; i < whole->n; i++)
        for (int how = 0; how < 3; how++) break_tensor(like, be, whole->name[i], how, &err);
    printf("%d tensors, each hidden, reshaped and stacked; last message: %s\n", whole->n, err.text);
    weir__backend_close(be);
    fake_free(whole);
}

/* One attempt in which the allocation number fail_at after the backend's fails. */
static weir_status fail_allocation(const fake *like, long fail_at) {
    fake *k = fake_like(like);
    alloc_install(0);
    weir_backend *be = fake_backend(1);
    const long made = alloc_count(), held = alloc_live();
    weir__backend_close(be);
    alloc_uninstall();

    alloc_install(made + fail_at);
    be = fake_backend(1);
    weir_model *m = NULL;
    weir_err err = {""};
    const weir_status s = fake_create(k, be, &m, &err);
    if (s != WEIR_OK) {
        cr_expect_eq(s, WEIR_ENOMEM, "allocation %ld: %s", fail_at, err.text);
        cr_expect(!m && err.text[0]);
        cr_expect_eq(alloc_live(), held, "allocation %ld: leak", fail_at);
    }
    weir__model_free(m);
    weir__backend_close(be);
    cr_expect_eq(alloc_live(), 0);
    alloc_uninstall();
    fake_free(k);
    return s;
}

void fake_fail_each_allocation(const fake *like, long n_min) {
    long fail_at = 1;
    while (fail_allocation(like, fail_at) != WEIR_OK) fail_at++;
    printf("%ld allocations, each failed once\n", fail_at - 1);
    cr_expect_gt(fail_at, n_min);
}
