/* Frequencies of rotary embeddings, against transformers and at their known ends. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/decoder/decoder.h"

/* Known ends of each stretch: fast dimensions stay, slow ones are divided. */
Test(rope_table, have_their_ends) {
    enum { N = 128 };
    float base[N / 2], t[N / 2];
    weir_rope_config r = {.theta = 1e4f, .factor = 4.0f, .n_ctx_original = 4096};
    r.low_freq = 1.0f, r.high_freq = 4.0f, r.beta_fast = 32.0f, r.beta_slow = 1.0f;
    cr_expect_eq(weir__rope_table(&r, N, base), 1.0f);
    cr_expect_eq(base[0], 1.0f);
    cr_expect(fabsf(base[N / 4] - 1e-2f) <= 1e-9f, "%g", (double)base[N / 4]);
    for (int kind = WEIR_ROPE_LINEAR; kind <= WEIR_ROPE_YARN; kind++) {
        r.kind = (weir_rope_kind)kind;
        const float scale = weir__rope_table(&r, N, t);
        cr_expect_eq(t[N / 2 - 1], base[N / 2 - 1] / 4.0f, "kind %d", kind);
        cr_expect_eq(t[0], kind == WEIR_ROPE_LINEAR ? 0.25f : 1.0f, "kind %d", kind);
        cr_expect(fabsf(scale - (kind == WEIR_ROPE_YARN ? 1.1386294f : 1.0f)) <= 1e-6f, "kind %d: %g", kind,
                  (double)scale);
        for (int i = 1; i < N / 2; i++)
            cr_expect(t[i] < t[i - 1] && t[i] <= base[i] && t[i] >= base[i] / 4.0f);
    }
    r.attention_factor = 1.5f;
    cr_expect_eq(weir__rope_table(&r, N, t), 1.5f);
    r.attention_factor = 0.0f, r.factor = 1.0f;
    cr_expect_eq(weir__rope_table(&r, N, t), 1.0f);
}

/* A line of tests/golden/rope/tables.txt (make_rope.py): the config, then what transformers makes of it. Its
 * arithmetic is f32, ours is double: pow and three roundings, under 2^-20 together. */
static bool check_rope_table(FILE *file) {
    static const char *const kinds[] = {"default", "linear", "llama3", "yarn"};
    char kind[16];
    weir_rope_config r = {.kind = WEIR_ROPE_DEFAULT};
    int32_t n_dim = 0;
    float scale = 0.0f, want = 0.0f, got[128];
    const int n = fscanf(file, "%15s %f %f %f %f %f %f %d %f %d %f", kind, &r.theta, &r.factor, &r.low_freq,
                         &r.high_freq, &r.beta_fast, &r.beta_slow, &r.n_ctx_original, &r.attention_factor,
                         &n_dim, &scale);
    if (n == EOF) return false;
    cr_assert(n == 11 && n_dim > 0 && n_dim <= 256);
    if (strcmp(kind, "untruncated") == 0) r.kind = WEIR_ROPE_YARN, r.untruncated = true;
    while (!r.untruncated && strcmp(kinds[r.kind], kind) != 0)
        cr_assert(++r.kind <= WEIR_ROPE_YARN, "%s", kind);
    const float got_scale = weir__rope_table(&r, n_dim, got);
    cr_expect(fabsf(got_scale - scale) <= 0x1p-20f * scale, "%s %d: %g, want %g", kind, n_dim,
              (double)got_scale, (double)scale);
    for (int i = 0; i < n_dim / 2; i++) {
        cr_assert_eq(fscanf(file, "%f", &want), 1);
        cr_expect(fabsf(got[i] - want) <= 0x1p-20f * want, "%s %d, dimension %d: %g, want %g", kind, n_dim, i,
                  (double)got[i], (double)want);
    }
    return true;
}

Test(rope_table, are_those_of_transformers) {
    FILE *file = fopen(WEIR_SOURCE_DIR "/tests/golden/rope/tables.txt", "r");
    int n = 0;
    cr_assert(file);
    while (check_rope_table(file)) n++;
    fclose(file);
    cr_assert_eq(n, 14);
}
