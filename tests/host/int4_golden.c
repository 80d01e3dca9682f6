#include "tests/host/int4_golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/costs.h"
#include "tests/support/files.h"

const int4_model int4_models[INT4_MODELS] = {
    {"gptq_symmetric", WEIR_DTYPE_Q4_0, ", GPTQ)"},
    {"gptq_zeros", WEIR_DTYPE_INT4, ", GPTQ)"},
    {"gptq_v2_head", WEIR_DTYPE_INT4_128, ", GPTQ v2)"},
    {"gptq_rows", WEIR_DTYPE_Q4_0, ", GPTQ)"},
    {"awq", WEIR_DTYPE_INT4, ", AWQ)"},
    {"awq_fused", WEIR_DTYPE_INT4, ", AWQ)"},
    {"packed_symmetric", WEIR_DTYPE_Q4_0, ", pack-quantized)"},
    {"packed_zeros", WEIR_DTYPE_INT4, ", pack-quantized)"},
    {"mxfp4", WEIR_DTYPE_MXFP4, ", MXFP4)"},
    {"gptoss_mxfp4", WEIR_DTYPE_F32, ", MXFP4)"}, /* of its experts alone */
    {"gptq_act_order", WEIR_DTYPE_INT4_128, ", GPTQ act-order)"},
    {"gptq_act_order_fused", WEIR_DTYPE_Q4_0, ", GPTQ act-order)"},
    {"packed_act_order", WEIR_DTYPE_INT4, ", pack-quantized act-order)"},
};

void int4_dir(char dir[256], int i) {
    snprintf(dir, 256, WEIR_SOURCE_DIR "/tests/golden/int4/%s", int4_models[i].name);
}

int4_golden int4_golden_read(int i) {
    int4_golden g;
    char dir[256];
    size_t n;
    int4_dir(dir, i);
    char *path = files_path(dir, "golden.bin");
    uint8_t *bytes = files_read(path, &n);
    cr_assert(bytes && n == sizeof g, "%s", path);
    memcpy(&g, bytes, n);
    cr_assert_eq(g.n, INT4_IDS);
    free(bytes), free(path);
    return g;
}

weir_status int4_open_pair(weir_engine **e, int i, int drafter, const char *device, const char *isa,
                           int n_rank, weir_err *err) {
    weir_engine_options o = weir_engine_options_default();
    char dir[256], other[256];
    int4_dir(dir, i);
    if (drafter >= 0) int4_dir(other, drafter);
    o.costs = TEST_COSTS;
    o.model = dir;
    o.model_draft = drafter >= 0 ? other : NULL;
    o.device = device;
    o.isa = isa;
    o.n_thread = 1;
    o.tp = n_rank;
    return weir_engine_open(e, &o, err);
}

weir_engine *int4_open(int i, const char *device, const char *isa, int n_rank) {
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert_eq(int4_open_pair(&e, i, -1, device, isa, n_rank, &err), WEIR_OK, "%s", err.text);
    return e;
}

double int4_score_error(weir_engine *e, const int4_golden *g) {
    float got[INT4_IDS - 1];
    double worst = 0;
    weir_err err = {""};
    cr_assert_eq(weir_score(e, g->ids, 1, g->ids + 1, INT4_IDS - 1, got, &err), WEIR_OK, "%s", err.text);
    for (int k = 0; k < INT4_IDS - 1; k++) {
        const double d = fabs((double)got[k] - (double)g->logprobs[k]);
        worst = !(d <= worst) ? d : worst;
    }
    return worst;
}

int64_t int4_greedy(int i, int drafter, const char *device, int n_rank, int32_t ids[INT4_NEW]) {
    const int4_golden g = int4_golden_read(i);
    weir_session_options o = weir_session_options_default();
    weir_session_view v;
    weir_session *s = NULL;
    weir_engine *e = NULL;
    weir_err err = {""};
    o.max_tokens = INT4_NEW, o.ignore_eos = true, o.n_draft = 3, o.law.temp = 0.0f;
    if (drafter < 0) o.method = WEIR_METHOD_VERIFIER;
    cr_assert_eq(int4_open_pair(&e, i, drafter, device, NULL, n_rank, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir_session_create(e, &o, g.ids, 9, NULL, NULL, &s, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir_step(e, &s, 1, 1000, &err), WEIR_OK, "%s", err.text);
    weir_session_get(s, &v);
    cr_assert_eq(v.n, INT4_NEW);
    memcpy(ids, v.ids, INT4_NEW * sizeof *ids);
    const int64_t accepted = v.stats.accepted;
    weir_session_free(s);
    weir_engine_close(e);
    return accepted;
}
