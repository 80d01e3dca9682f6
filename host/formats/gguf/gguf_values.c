/* Values and tensors of a checked GGUF file. */
#include <string.h>

#include "host/formats/gguf/gguf_file.h"
#include "host/formats/map.h"

/* ---- values -------------------------------------------------------------------------------------------- */

/* Element i of numbers of one kind, widened. Bools are 0 and 1 if `bools`, else refused. */
static bool load_int(const gguf_pair *p, size_t i, bool bools, int64_t *out) {
    const uint8_t *at = p->at;
    switch (p->kind) {
    case GGUF_U8: *out = at[i]; return true;
    case GGUF_I8: *out = (int8_t)at[i]; return true;
    case GGUF_U16: *out = (uint16_t)weir__gguf_load(at + 2 * i, 2); return true;
    case GGUF_I16: *out = (int16_t)weir__gguf_load(at + 2 * i, 2); return true;
    case GGUF_U32: *out = (uint32_t)weir__gguf_load(at + 4 * i, 4); return true;
    case GGUF_I32: *out = (int32_t)weir__gguf_load(at + 4 * i, 4); return true;
    case GGUF_I64: *out = (int64_t)weir__gguf_load(at + 8 * i, 8); return true;
    case GGUF_U64: *out = (int64_t)weir__gguf_load(at + 8 * i, 8); return *out >= 0;
    case GGUF_BOOL: *out = at[i]; return bools;
    default: return false;
    }
}

static bool load_real(const gguf_pair *p, size_t i, double *out) {
    int64_t n;
    if (p->kind == GGUF_F32) {
        uint32_t bits = (uint32_t)weir__gguf_load(p->at + 4 * i, 4);
        float f;
        memcpy(&f, &bits, sizeof f);
        *out = f;
        return true;
    }
    if (p->kind == GGUF_F64) {
        uint64_t bits = weir__gguf_load(p->at + 8 * i, 8);
        memcpy(out, &bits, sizeof bits);
        return true;
    }
    if (p->kind == GGUF_U64) { /* also above int64 */
        *out = (double)weir__gguf_load(p->at + 8 * i, 8);
        return true;
    }
    if (!load_int(p, i, false, &n)) return false;
    *out = (double)n;
    return true;
}

static const gguf_pair *find_scalar(const weir_gguf *g, const char *key) {
    const gguf_pair *p = weir__gguf_pair(g, key);
    return p && !p->array ? p : NULL;
}

static const gguf_pair *find_array(const weir_gguf *g, const char *key) {
    const gguf_pair *p = weir__gguf_pair(g, key);
    return p && p->array ? p : NULL;
}

bool weir__gguf_has(const weir_gguf *g, const char *key) { return weir__gguf_pair(g, key) != NULL; }

bool weir__gguf_int(const weir_gguf *g, const char *key, int64_t *out) {
    const gguf_pair *p = find_scalar(g, key);
    int64_t n;
    if (!p || !load_int(p, 0, false, &n)) return false;
    *out = n;
    return true;
}

bool weir__gguf_real(const weir_gguf *g, const char *key, double *out) {
    const gguf_pair *p = find_scalar(g, key);
    return p && load_real(p, 0, out);
}

bool weir__gguf_bool(const weir_gguf *g, const char *key, bool *out) {
    const gguf_pair *p = find_scalar(g, key);
    if (!p || p->kind != GGUF_BOOL) return false;
    *out = p->at[0] != 0;
    return true;
}

bool weir__gguf_string(const weir_gguf *g, const char *key, const char **text, size_t *bytes) {
    const gguf_pair *p = find_scalar(g, key);
    if (!p || p->kind != GGUF_STRING) return false;
    *text = (const char *)p->at;
    *bytes = p->bytes;
    return true;
}

bool weir__gguf_array_length(const weir_gguf *g, const char *key, size_t *n) {
    const gguf_pair *p = find_array(g, key);
    if (!p) return false;
    *n = p->n;
    return true;
}

bool weir__gguf_array_string(const weir_gguf *g, const char *key, size_t i, const char **text,
                             size_t *bytes) {
    const gguf_pair *p = find_array(g, key);
    if (!p || p->kind != GGUF_STRING || i >= p->n) return false;
    const uint8_t *at = g->bytes + p->string[i];
    *bytes = (size_t)weir__gguf_load(at, 8);
    *text = (const char *)at + 8;
    return true;
}

bool weir__gguf_array_int(const weir_gguf *g, const char *key, size_t i, int64_t *out) {
    const gguf_pair *p = find_array(g, key);
    int64_t n;
    if (!p || i >= p->n || !load_int(p, i, true, &n)) return false;
    *out = n;
    return true;
}

bool weir__gguf_array_real(const weir_gguf *g, const char *key, size_t i, double *out) {
    const gguf_pair *p = find_array(g, key);
    return p && i < p->n && load_real(p, i, out);
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

size_t weir__gguf_count(const weir_gguf *g) { return g->n_tensor; }

void weir__gguf_at(const weir_gguf *g, size_t i, weir_entry *out) { *out = g->tensor[i].e; }

bool weir__gguf_find(const weir_gguf *g, const char *name, weir_entry *out) {
    const weir_entry *e = weir__entry_find(g->tensor, g->n_tensor, sizeof *g->tensor, name);
    if (e) *out = *e;
    return e != NULL;
}

void weir__gguf_release(const weir_gguf *g, const char *name) {
    weir_entry e;
    if (g->mapped && weir__gguf_find(g, name, &e)) weir__map_release(e.data, e.bytes);
}
