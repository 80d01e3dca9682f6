/* The order of ops of the decoder-only families. RMSNorm before a sub-layer is part of the linear op that
 * reads it.
 *
 *   layer    x += post(O·attention(rope(qkv(norm x))))    K, V appended first; keys [0, pos], or the last few
 *            x += post(down·(act(gate(norm x)) up(norm x)))      or the experts' (experts.h)
 *   logits   cap(scale head(norm x))
 *
 * post is the identity, a factor (Granite), or a norm (Gemma; OLMo 2, which has no other norm in a layer). */
#include "models/decoder/decoder.h"

static attention_cache cache_of(const decoder_model *m, const weir_kv *kv, int32_t l) {
    if (!kv->slide.pool) return (attention_cache){&kv->self, l};
    return (attention_cache){m->c.sliding[l] ? &kv->slide : &kv->self, m->layer[l].in_group};
}

weir_status weir__decoder_append(weir_model *base, const weir_kv *kv, const model_rows *r, int32_t l) {
    const decoder_model *m = (const decoder_model *)base;
    return weir__attention_qkv(base, &m->layer[l].att, weir__decoder_kind(m, l), cache_of(m, kv, l), r);
}

weir_status weir__decoder_rest(weir_model *base, const weir_kv *kv, const model_rows *r, int32_t l) {
    const decoder_model *m = (const decoder_model *)base;
    const attention_kind *kind = weir__decoder_kind(m, l);
    WEIR_TRY(weir__attention_output(base, &m->layer[l].att, kind, cache_of(m, kv, l), r));
    return weir__decoder_mixes(m, l) ? weir__experts(base, &m->layer[l].experts, r)
                                     : weir__feed_forward(base, &m->layer[l].ff, r);
}
