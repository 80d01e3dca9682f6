/* transformers leaves a tensor that the model lacks out of the computation with a warning in its log. Here
 * one inside a layer is refused: whoever stored it meant it to count. The walk that loads a model's tensors
 * says which it has. */
#include "host/formats/tensor_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/config/config.h"
#include "host/formats/safetensors/f8.h"
#include "host/formats/safetensors/int4.h"
#include "host/formats/safetensors/safetensors.h"
#include "host/formats/safetensors/stacks.h"
#include "kernels/base/mem.h"

static bool ends_with(const char *s, const char *end) {
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static const char *skip(const char *s, const char *prefix) {
    const size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static bool has_any(const char *s, const char *const *parts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strstr(s, parts[i])) return true;
    return false;
}

/* ---- other programs' --------------------------------------------------------------------------------- */

static bool of_adapter(const char *name) {
    static const char *const parts[] = {
        ".lora_A",      ".lora_B",           ".lora_embedding_",  ".lora_magnitude_vector",
        ".base_layer.", "base_model.model.", ".modules_to_save.", ".ia3_l",
        ".oft_",        "prompt_embeddings"};
    return has_any(name, parts, sizeof parts / sizeof *parts);
}

static bool of_quantiser(const char *name) {
    static const char *const ends[] = {
        ".qweight",          ".qzeros",           ".g_idx",         ".scales",           ".weight_packed",
        ".weight_scale",     ".weight_scale_inv", ".weight.absmax", ".weight.quant_map", ".SCB",
        ".weight_zero_point"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return strstr(name, ".weight.quant_state.") != NULL;
}

bool weir__tensor_is_of_text(const char *name) {
    static const char *const parts[] = {"vision_tower.", "multi_modal_projector.", "vision_model.",
                                        "audio_tower."};
    return !has_any(name, parts, sizeof parts / sizeof *parts);
}

/* Tables that old versions stored with the weights. Every reader computes them. */
static bool is_buffer(const char *name) {
    static const char *const ends[] = {"rotary_emb.inv_freq", "rotary_emb.cos_cached",
                                       "rotary_emb.sin_cached", ".masked_bias", "position_ids"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return false;
}

/* ---- what a kind of model calls its tensors ---------------------------------------------------------- */

/* Three names of one embedding. Writers keep any of them. */
static const char *const EMBEDDINGS[] = {"shared.weight", "encoder.embed_tokens.weight",
                                         "decoder.embed_tokens.weight"};
enum { N_EMBEDDING = sizeof EMBEDDINGS / sizeof *EMBEDDINGS };

/* A tied T5Gemma's head and its decoder's embedding are one tensor. Writers keep either name. */
#define T5GEMMA_HEAD "lm_head.out_proj.weight"
static const char T5GEMMA_EMBEDDING[] = "model.decoder.embed_tokens.weight";

static weir_status walk_t5(const weir_checkpoint *c, weir_tensor_visit visit, void *ud) {
    return weir__t5_tensors(&c->t5, visit, ud);
}

static weir_status walk_decoder(const weir_checkpoint *c, weir_tensor_visit visit, void *ud) {
    return weir__decoder_tensors(&c->decoder, visit, ud);
}

static weir_status walk_t5gemma(const weir_checkpoint *c, weir_tensor_visit visit, void *ud) {
    const weir_t5gemma_config both = {&c->encoder, &c->decoder};
    return weir__t5gemma_tensors(&both, visit, ud);
}

/* Lists end with NULL; an entry that begins with a dot is the end of a name. */
static const struct {
    weir_status (*walk)(const weir_checkpoint *c, weir_tensor_visit visit, void *ud);
    const char *bulk;
    const char *idle[5];       /* tensors left alone: the head of a tied model, other embeddings */
    const char *idle_layer[2]; /* the same inside a layer */
    const char *strange[3];    /* tensors outside the layers that would change the result */
} KINDS[] = {
    [WEIR_FAMILY_T5] = {.walk = walk_t5,
                        .bulk = "shared.weight",
                        .idle = {"lm_head.weight", "encoder.embed_tokens.weight",
                                 "decoder.embed_tokens.weight"},
                        /* in old files; no version uses it */
                        .idle_layer = {".EncDecAttention.relative_attention_bias.weight"}},
    [WEIR_FAMILY_DECODER] = {.walk = walk_decoder,
                             .bulk = "model.layers.0.self_attn.o_proj.weight",
                             .idle = {"lm_head.weight", ".lm_head.weight"},
                             .strange = {"lm_head.bias", ".lm_head.bias"}},
    [WEIR_FAMILY_T5GEMMA] = {.walk = walk_t5gemma,
                             .bulk = "model.decoder.layers.0.self_attn.o_proj.weight",
                             .idle = {T5GEMMA_HEAD},
                             .strange = {"lm_head.out_proj.bias"}},
};

static bool listed(const char *const *list, const char *name) {
    for (; *list; list++)
        if (**list == '.' ? ends_with(name, *list) : strcmp(name, *list) == 0) return true;
    return false;
}

const char *weir__bulk_tensor(const weir_checkpoint *c) { return KINDS[c->kind].bulk; }

/* How a decoder's names begin. A text model that is part of a larger one has an extra word. */
static const char *const STEMS[] = {"model.", "language_model.model.", "model.language_model."};
enum { N_STEM = sizeof STEMS / sizeof *STEMS };

static weir_status find_stem(weir_checkpoint *c, weir_err *err) {
    weir_entry e;
    char name[64];
    for (int i = 0; i < N_STEM; i++) {
        snprintf(name, sizeof name, "%sembed_tokens.weight", STEMS[i]);
        if (!weir__safetensors_find(c->tensors, name, &e)) continue;
        snprintf(c->stem, sizeof c->stem, "%s", STEMS[i]);
        return WEIR_OK;
    }
    weir__safetensors_at(c->tensors, 0, &e);
    return weir_fail(err, WEIR_EFORMAT, "%s: no tensor model.embed_tokens.weight; the first is %.100s",
                     weir__label(c->dir), e.name);
}

const char *weir__tensor_file_name(const weir_checkpoint *c, const char *name, int i,
                                   char room[WEIR__TENSOR_NAME_CAP]) {
    if (c->kind == WEIR_FAMILY_T5) {
        if (i > 0 && (i >= N_EMBEDDING || strcmp(name, EMBEDDINGS[0]) != 0)) return NULL;
        return i == 0 ? name : EMBEDDINGS[i];
    }
    if (c->kind == WEIR_FAMILY_T5GEMMA) {
        const bool head = i == 1 && c->decoder.tied && strcmp(name, T5GEMMA_EMBEDDING) == 0;
        return i == 0 ? name : head ? T5GEMMA_HEAD : NULL;
    }
    const char *rest = skip(name, "model.");
    const bool nested = strcmp(c->stem, STEMS[1]) == 0; /* so is the head */
    if (i > 0) return NULL;
    snprintf(room, WEIR__TENSOR_NAME_CAP, "%s%s",
             rest     ? c->stem
             : nested ? "language_model."
                      : "",
             rest ? rest : name);
    return room;
}

/* The name under which the model would ask for it. */
static const char *model_name(const weir_checkpoint *c, const char *name, char room[WEIR__TENSOR_NAME_CAP]) {
    const char *rest = c->kind == WEIR_FAMILY_DECODER ? skip(name, c->stem) : NULL;
    if (!rest) return name;
    snprintf(room, WEIR__TENSOR_NAME_CAP, "model.%s", rest);
    return room;
}

/* ---- the model's names ------------------------------------------------------------------------------- */

/* What the walk visits: counted first, then kept. */
typedef struct name_list {
    const char **name; /* (n) sorted, in text; NULL: to be counted */
    char *text;
    size_t n, bytes;
} name_list;

static weir_status visit_name(void *ud, const char *name) {
    name_list *l = ud;
    const size_t bytes = strlen(name) + 1;
    if (l->name) l->name[l->n] = memcpy(l->text + l->bytes, name, bytes);
    l->n++;
    l->bytes += bytes;
    return WEIR_OK;
}

static int by_string(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void free_names(name_list *l) {
    weir_free(l->name);
    weir_free(l->text);
}

static weir_status list_names(const weir_checkpoint *c, name_list *l, weir_err *err) {
    name_list count = {0};
    WEIR_TRY(KINDS[c->kind].walk(c, visit_name, &count));
    *l = (name_list){.name = weir_alloc(count.n, sizeof *l->name), .text = weir_alloc(count.bytes, 1)};
    if (!l->name || !l->text) {
        free_names(l);
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for %zu names", weir__label(c->dir), count.n);
    }
    (void)KINDS[c->kind].walk(c, visit_name, l);
    qsort(l->name, l->n, sizeof *l->name, by_string);
    return WEIR_OK;
}

/* Whether one of the names begins with these n bytes. */
static bool has_prefix(const name_list *l, const char *s, size_t n) {
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int order = strncmp(s, l->name[mid], n);
        if (order == 0) return true;
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return false;
}

/* The length of "model.layers.N." in the name of a layer's tensor; 0: it has no number. */
static size_t layer_prefix(const char *name) {
    for (const char *p = strchr(name, '.'); p; p = strchr(p + 1, '.')) {
        const size_t digits = strspn(p + 1, "0123456789");
        if (digits > 0 && p[1 + digits] == '.') return (size_t)(p + digits + 2 - name);
    }
    return 0;
}

typedef enum verdict { KNOWN, STRANGE_IN_LAYER, STRANGE } verdict;

static verdict judge(const weir_checkpoint *c, const name_list *l, const char *file_name) {
    char room[WEIR__TENSOR_NAME_CAP];
    const char *name = model_name(c, file_name, room);
    const size_t layer = layer_prefix(name);
    if (has_prefix(l, name, strlen(name) + 1) || listed(KINDS[c->kind].idle, file_name)) return KNOWN;
    if (listed(KINDS[c->kind].strange, file_name)) return STRANGE_IN_LAYER;
    if (layer == 0 || !has_prefix(l, name, layer)) return STRANGE;
    return listed(KINDS[c->kind].idle_layer, name) ? KNOWN : STRANGE_IN_LAYER;
}

/* ---- all of them ------------------------------------------------------------------------------------- */

/* A part of a matrix of 4-bit codes whose codes are there; the matrix's name to weight. */
static bool of_int4(const weir_checkpoint *c, const char *name, char weight[WEIR__ENTRY_NAME_CAP]) {
    weir_entry codes;
    return weir__int4_weight_name(c->int4, name, weight) &&
           weir__int4_find(c->tensors, c->int4, weight, &codes);
}

/* A part of a layer's experts that are one tensor each; what a model calls it to name. */
static bool of_stack(const weir_checkpoint *c, const char *part, char name[WEIR__ENTRY_NAME_CAP]) {
    return c->kind == WEIR_FAMILY_DECODER && c->decoder.experts.names == WEIR_EXPERTS_ROUTER &&
           weir__stack_name(part, name);
}

static weir_status check_foreign(const weir_checkpoint *c, const char *name, weir_err *err) {
    char weight[WEIR__ENTRY_NAME_CAP];
    if (of_adapter(name))
        return weir_fail(
            err, WEIR_ENOTSUP,
            "%s: tensor %.100s: an adapter's: merge it into its model first (peft: merge_and_unload)",
            weir__label(c->dir), name);
    if (of_quantiser(name) && !weir__f8_is_scale(c->tensors, name) && !of_int4(c, name, weight))
        return weir_fail(
            err, WEIR_ENOTSUP,
            "%s: tensor %.100s: the weights are quantised, expected F32, F16, BF16 or F8_E4M3 (or "
            "GGUF), or a quantization_config that says how",
            weir__label(c->dir), name);
    return WEIR_OK;
}

/* Old writers of GPTQ gave every matrix a bias. */
static bool is_no_bias(const weir_checkpoint *c, const char *name) {
    char weight[WEIR__ENTRY_NAME_CAP];
    weir_entry codes, bias;
    if (!weir__entry_renamed(name, ".bias", ".weight", weight) ||
        !weir__int4_find(c->tensors, c->int4, weight, &codes) ||
        !weir__safetensors_find(c->tensors, name, &bias))
        return false;
    const unsigned char *p = bias.data;
    for (size_t i = 0; i < bias.bytes; i++)
        if (p[i] != 0) return false;
    return true;
}

static weir_status check_own(weir_checkpoint *c, const name_list *l, const char *name, weir_err *err) {
    if (!weir__tensor_is_of_text(name) || is_buffer(name) || weir__f8_is_scale(c->tensors, name))
        return WEIR_OK;
    char weight[WEIR__ENTRY_NAME_CAP];
    const bool stack = of_stack(c, name, weight);
    if (stack) WEIR_TRY(weir__stack_check(c->tensors, weight, c->dir, err));
    const verdict v = judge(c, l, stack || of_int4(c, name, weight) ? weight : name);
    if (v == STRANGE_IN_LAYER && !is_no_bias(c, name))
        return weir_fail(
            err, WEIR_ENOTSUP,
            "%s: tensor %.100s: not supported, %.*s has none of that name, it changes the result",
            weir__label(c->dir), name, (int)strcspn(c->family, " "), c->family);
    return v == STRANGE ? weir__note_tensor(name, c, err) : WEIR_OK;
}

static weir_status check_all(weir_checkpoint *c, const name_list *l, weir_err *err) {
    weir_entry e;
    for (size_t i = 0; i < weir__safetensors_count(c->tensors); i++) {
        weir__safetensors_at(c->tensors, i, &e);
        WEIR_TRY(check_own(c, l, e.name, err));
    }
    return WEIR_OK;
}

weir_status weir__check_tensor_names(weir_checkpoint *c, weir_err *err) {
    const size_t n = weir__safetensors_count(c->tensors);
    weir_entry e;
    name_list l;
    for (size_t i = 0; i < n; i++) {
        weir__safetensors_at(c->tensors, i, &e);
        WEIR_TRY(check_foreign(c, e.name, err));
    }
    if (c->kind == WEIR_FAMILY_DECODER && n > 0) WEIR_TRY(find_stem(c, err));
    WEIR_TRY(list_names(c, &l, err));
    const weir_status s = check_all(c, &l, err);
    free_names(&l);
    return s;
}
