#include "host/wire/rule.h"

#include "host/wire/json.h"
#include "host/wire/settings.h"

void wire_position_free(wire_position *at) {
    weir_free(at->logits[0]);
    weir_free(at->logits[1]);
    weir_free(at->arrays);
    weir_free(at->counts);
    *at = (wire_position){0};
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static weir_status read_logits(wire_object *in, wire_position *at, weir_err *err) {
    static const char *const keys[] = {"q_logits", "p_logits"};
    size_t n[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        bool seen = false;
        WEIR_TRY(wire_read_floats(in, keys[i], &at->logits[i], &n[i], &seen, err));
        if (!seen) return wire_object_fail(in, keys[i], err, "missing");
        if (n[i] == 0) return wire_object_fail(in, keys[i], err, "empty, expected one logit for each token");
        if (n[i] > INT32_MAX) return wire_object_fail(in, keys[i], err, "more than %d logits", INT32_MAX);
    }
    if (n[0] != n[1])
        return wire_object_fail(in, "p_logits", err, "%zu logits, but q_logits has %zu", n[1], n[0]);
    at->n = n[0];
    return WEIR_OK;
}

weir_status wire_position_read(wire_object *in, const weir_law *law, wire_position *at, weir_err *err) {
    at->o = weir_session_options_default();
    at->o.law = *law;
    WEIR_TRY(wire_check_known(in, WIRE_RULE, err));
    WEIR_TRY(wire_read_settings(in, WIRE_RULE, NULL, &at->o, err));
    WEIR_TRY(wire_check_law(in, WIRE_RULE, &at->o.law, err));
    return read_logits(in, at, err);
}

/* ---- the study ----------------------------------------------------------------------------------------- */

static weir_status draw(wire_position *at, uint64_t seed, weir_interrupt stop, weir_err *err) {
    enum { SLICE = 1024 };
    for (int64_t done = 0; done < at->n_draw; done += SLICE) {
        if (weir_interrupted(&stop)) return WEIR_ECANCELED;
        const int64_t slice = at->n_draw - done < SLICE ? at->n_draw - done : SLICE;
        WEIR_TRY(weir_rule_draw(&at->o.law, at->logits[0], at->logits[1], (int32_t)at->n, seed, done, slice,
                                at->counts, &at->n_accepted, err));
    }
    return WEIR_OK;
}

weir_status wire_position_study(wire_position *at, int64_t n_draw, uint64_t seed, weir_interrupt stop,
                                weir_err *err) {
    const size_t n = at->n;
    at->n_draw = n_draw;
    at->arrays = weir_alloc(4 * n, sizeof *at->arrays);
    if (n_draw > 0) at->counts = weir_calloc(n, sizeof *at->counts);
    if (!at->arrays || (n_draw > 0 && !at->counts))
        return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu tokens", n);
    at->result.pi = at->arrays;
    at->result.keep = at->arrays + n;
    at->result.accept = at->arrays + 2 * n;
    at->result.residual = at->arrays + 3 * n;
    WEIR_TRY(weir_rule_eval(&at->o.law, at->logits[0], at->logits[1], (int32_t)n, &at->result, err));
    return at->counts ? draw(at, seed, stop, err) : WEIR_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static json_t *array_or_null(bool has, const float *x, size_t n) {
    return has ? wire_floats(x, n) : json_null();
}

json_t *wire_position_json(const wire_position *at) {
    const weir_rule_result *r = &at->result;
    const size_t n = at->n;
    json_t *out = json_object();
    wire_set_setting(out, WIRE_DEFERRAL_RULE, &at->o);
    wire_set_setting(out, WIRE_ALPHA, &at->o);
    wire_set(out, "beta", wire_knob(r->beta));
    wire_set(out, "deferred", r->deferred < 0 ? json_null() : json_boolean(r->deferred));
    wire_set(out, "eta", wire_real((double)r->eta));
    wire_set(out, "keep", array_or_null(r->has_keep, r->keep, n));
    wire_set(out, "pi", array_or_null(r->has_pi, r->pi, n));
    wire_set(out, "reject", wire_real((double)r->reject));
    wire_set(out, "accept", wire_floats(r->accept, n));
    wire_set(out, "residual", array_or_null(r->has_residual, r->residual, n));
    if (at->counts) {
        json_t *counts = json_array();
        for (size_t i = 0; i < n; i++) wire_add(counts, json_integer(at->counts[i]));
        wire_set(out, "draws", json_integer(at->n_draw));
        wire_set(out, "counts", counts);
        wire_set(out, "accepted_fraction", wire_real((double)at->n_accepted / (double)at->n_draw));
    }
    return out;
}
