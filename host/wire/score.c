#include "host/wire/score.h"

#include <string.h>

#include "host/wire/json.h"
#include "host/wire/settings.h"

void wire_pair_free(wire_pair *p) {
    weir_free(p->ids[0]);
    weir_free(p->ids[1]);
    *p = (wire_pair){0};
}

/* A whole text: the first token is all that the second is given. */
static weir_status read_whole(const wire_context *c, wire_object *in, bool encoder_decoder, wire_pair *p,
                              weir_err *err) {
    const char *key = wire_object_has(in, "text") ? "text" : "text_ids";
    if (encoder_decoder)
        return wire_object_fail(in, key, err,
                                "an encoder-decoder model scores a prompt and a completion only");
    int32_t *ids = NULL;
    size_t n = 0;
    WEIR_TRY(wire_read_prompt(c, in, "text", "text_ids", true, &ids, &n, err));
    weir_status st = n > 0 ? WEIR_OK : wire_object_fail(in, key, err, "contains no tokens");
    for (int side = 0; st == WEIR_OK && side < 2; side++) {
        p->n[side] = side == 0 ? 1 : n - 1;
        p->ids[side] = weir_alloc(p->n[side], sizeof *ids);
        if (!p->ids[side])
            st = weir_fail(err, WEIR_ENOMEM, "out of memory for %zu ids", n);
        else if (p->n[side] > 0)
            memcpy(p->ids[side], ids + side, p->n[side] * sizeof *ids);
    }
    weir_free(ids);
    return st;
}

/* Nothing is added to a completion: what follows it is not part of what is scored. */
weir_status wire_pair_read(const wire_context *c, wire_object *in, wire_pair *p, weir_err *err) {
    static const char *const parts[] = {"prompt", "prompt_ids", "completion", "completion_ids"};
    weir_engine_facts f;
    weir_engine_get_facts(c->engine, &f);
    WEIR_TRY(wire_check_known(in, WIRE_SCORE, err));
    if (!wire_object_has(in, "text") && !wire_object_has(in, "text_ids")) {
        for (int side = 0; side < 2; side++)
            WEIR_TRY(wire_read_prompt(c, in, parts[2 * side], parts[2 * side + 1], side == 0, &p->ids[side],
                                      &p->n[side], err));
        return WEIR_OK;
    }
    for (int i = 0; i < 4; i++)
        if (wire_object_has(in, parts[i]))
            return wire_object_fail(in, parts[i], err, "unknown field beside a whole text");
    return read_whole(c, in, f.encoder_decoder, p, err);
}

json_t *wire_scores_json(const wire_pair *p, const float *logprobs) {
    double sum = 0;
    for (size_t i = 0; i < p->n[1]; i++) sum += (double)logprobs[i];
    json_t *out = json_object();
    wire_set(out, "completion_ids", wire_ids(p->ids[1], p->n[1]));
    wire_set(out, "logprobs", wire_floats(logprobs, p->n[1]));
    wire_set(out, "sum", wire_real(sum));
    return out;
}
