#include "host/formats/safetensors/int4.h"

#include <string.h>

#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"
#include "kernels/weight/quant.h"

enum {
    BLOCK = 32,
    TILE = 64, /* outputs packed together: their blocks of a whole row stay in a core's cache */
};

static const char WEIGHT[] = ".weight";

/* Ends of names; NULL: the form has no such tensor. */
typedef struct part_names {
    const char *codes, *scales, *zeros, *index, *shape;
} part_names;

static const part_names NAMES[] = {
    [WEIR_INT4_NONE] = {NULL, NULL, NULL, NULL, NULL},
    [WEIR_INT4_GPTQ] = {".qweight", ".scales", ".qzeros", ".g_idx", NULL},
    [WEIR_INT4_GPTQ_V2] = {".qweight", ".scales", ".qzeros", ".g_idx", NULL},
    [WEIR_INT4_AWQ] = {".qweight", ".scales", ".qzeros", NULL, NULL},
    [WEIR_INT4_PACKED] = {".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_g_idx",
                          ".weight_shape"},
    [WEIR_INT4_MXFP4] = {".weight_packed", ".weight_scale", NULL, NULL, NULL},
};

bool weir__is_int4(weir_int4 c, const weir_entry *e) {
    char name[WEIR__ENTRY_NAME_CAP];
    return c.form != WEIR_INT4_NONE && weir__entry_renamed(e->name, NAMES[c.form].codes, WEIGHT, name);
}

bool weir__int4_find(const weir_safetensors *s, weir_int4 c, const char *name, weir_entry *out) {
    char codes[WEIR__ENTRY_NAME_CAP];
    return c.form != WEIR_INT4_NONE && weir__entry_renamed(name, WEIGHT, NAMES[c.form].codes, codes) &&
           weir__safetensors_find(s, codes, out);
}

bool weir__int4_weight_name(weir_int4 c, const char *part, char out[WEIR__ENTRY_NAME_CAP]) {
    const part_names *p = &NAMES[c.form];
    const char *const ends[] = {p->codes, p->scales, p->zeros, p->index, p->shape};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i] && weir__entry_renamed(part, ends[i], WEIGHT, out)) return true;
    return false;
}

/* ---- the tensors of a matrix --------------------------------------------------------------------------- */

typedef struct matrix {
    weir_int4_form form;
    int64_t rows, cols; /* outputs and inputs */
    int64_t group, n_group;
    weir_entry codes, scales, zeros, index; /* of those that are absent the data are NULL */
    const int32_t *order;                   /* as in weir_tensor */
} matrix;

/* Outputs are the first dimension of codes, zeros and scales. */
static bool by_output(const matrix *m) { return m->form >= WEIR_INT4_PACKED; }

#define FAIL(e, ...) weir__fail_tensor(err, label, (e)->name, __VA_ARGS__)

/* A tensor beside the codes, where the form has it. */
static weir_status find_part(const weir_safetensors *s, const matrix *m, const char *end, bool needed,
                             weir_entry *out, const char *label, weir_err *err) {
    char name[WEIR__ENTRY_NAME_CAP];
    if (end && weir__entry_renamed(m->codes.name, NAMES[m->form].codes, end, name) &&
        weir__safetensors_find(s, name, out))
        return WEIR_OK;
    *out = (weir_entry){.name = "", .type = ""};
    return needed ? FAIL(&m->codes, "no %s beside it", end + 1) : WEIR_OK;
}

/* Types of codes and zeros, and of scales. */
static bool is_words(const weir_entry *e) { return strcmp(e->type, "I32") == 0; }
static bool is_bytes(const weir_entry *e) { return strcmp(e->type, "U8") == 0; }
static bool is_scale(const matrix *m) {
    const weir_entry *e = &m->scales;
    return m->form == WEIR_INT4_MXFP4 ? is_bytes(e)
                                      : e->dtype == WEIR_DTYPE_F16 || e->dtype == WEIR_DTYPE_BF16;
}

static weir_status expect(const weir_entry *e, bool type, const char *types, int64_t a, int64_t b,
                          const char *label, weir_err *err) {
    if (type && e->n_dim == 2 && e->shape[0] == a && e->shape[1] == b) return WEIR_OK;
    return FAIL(e, "%.10s (%lld, %lld) in %d dimensions, expected %s (%lld, %lld)", e->type,
                (long long)e->shape[0], (long long)e->shape[1], e->n_dim, types, (long long)a, (long long)b);
}

static weir_status read_codes(matrix *m, int32_t group, const char *label, weir_err *err) {
    const weir_entry *e = &m->codes;
    const bool bytes = m->form == WEIR_INT4_MXFP4;
    if (!(bytes ? is_bytes(e) : is_words(e)) || e->n_dim != 2 || e->shape[0] < 1 || e->shape[1] < 1)
        return FAIL(e, "%.10s in %d dimensions, expected a matrix of %s", e->type, e->n_dim,
                    bytes ? "U8" : "I32");
    const int64_t *shape = e->shape, each = bytes ? 2 : 8;
    const bool awq = m->form == WEIR_INT4_AWQ;
    m->rows = by_output(m) ? shape[0] : awq ? each * shape[1] : shape[1];
    m->cols = by_output(m) ? each * shape[1] : awq ? shape[0] : each * shape[0];
    m->group = group > 0 ? group : m->cols;
    m->n_group = (m->cols + m->group - 1) / m->group;
    if (m->cols % BLOCK != 0)
        return FAIL(e, "rows of %lld inputs, expected a multiple of %d", (long long)m->cols, (int)BLOCK);
    if (!by_output(m) && m->rows % 8 != 0)
        return FAIL(e, "%lld outputs, expected a multiple of 8", (long long)m->rows);
    return WEIR_OK;
}

static weir_status open_matrix(const weir_safetensors *s, weir_int4 c, const weir_entry *e, matrix *m,
                               const char *label, weir_err *err) {
    const part_names *p = &NAMES[c.form];
    *m = (matrix){.form = c.form, .codes = *e};
    const bool turned = by_output(m), optional = turned;
    WEIR_TRY(read_codes(m, c.group, label, err));
    WEIR_TRY(find_part(s, m, p->scales, true, &m->scales, label, err));
    WEIR_TRY(find_part(s, m, p->zeros, !optional, &m->zeros, label, err));
    WEIR_TRY(find_part(s, m, p->index, p->index && !optional, &m->index, label, err));
    WEIR_TRY(expect(&m->scales, is_scale(m), c.form == WEIR_INT4_MXFP4 ? "U8" : "F16 or BF16",
                    turned ? m->rows : m->n_group, turned ? m->n_group : m->rows, label, err));
    if (!m->zeros.data) return WEIR_OK;
    const int64_t words = (m->rows + 7) / 8;
    return expect(&m->zeros, is_words(&m->zeros), "I32", turned ? words : m->n_group,
                  turned ? m->n_group : words, label, err);
}

static uint32_t word_at(const weir_entry *e, int64_t i) {
    uint32_t u;
    memcpy(&u, (const unsigned char *)e->data + 4 * i, sizeof u);
    return u;
}

/* ---- check --------------------------------------------------------------------------------------------- */

/* An index that was made and never filled in: compressed-tensors leaves the natural order then. */
static bool is_unset(const matrix *m) {
    int64_t i = 0;
    while (i < m->cols && word_at(&m->index, i) == UINT32_MAX) i++;
    return m->form == WEIR_INT4_PACKED && i == m->cols;
}

/* *natural: the inputs are in the order of their groups. */
static weir_status check_index(const matrix *m, const char *label, bool *natural, weir_err *err) {
    const weir_entry *e = &m->index;
    *natural = true;
    if (!e->data) return WEIR_OK;
    if (!is_words(e) || e->n_dim != 1 || e->shape[0] != m->cols || m->cols > INT32_MAX)
        return FAIL(e, "%.10s of %lld elements in %d dimensions, expected I32, one for each of %lld inputs",
                    e->type, (long long)e->shape[0], e->n_dim, (long long)m->cols);
    if (is_unset(m)) return WEIR_OK;
    for (int64_t i = 0; i < m->cols; i++) {
        const int32_t g = (int32_t)word_at(e, i);
        if (g < 0 || g >= m->n_group)
            return FAIL(e, "input %lld is of group %d, but there are %lld", (long long)i, (int)g,
                        (long long)m->n_group);
        if (g != i / m->group) *natural = false;
    }
    return WEIR_OK;
}

/* Every group has the inputs of its size: then none is full before its last. next: of each group. */
static weir_status sort_inputs(const matrix *m, int64_t *next, int32_t *order, const char *label,
                               weir_err *err) {
    const weir_entry *e = &m->index;
    for (int64_t g = 0; g < m->n_group; g++) next[g] = g * m->group;
    for (int64_t i = 0; i < m->cols; i++) {
        const int64_t g = word_at(e, i), end = g + 1 < m->n_group ? (g + 1) * m->group : m->cols;
        if (next[g] == end)
            return FAIL(e, "input %lld is of group %lld, which has its %lld inputs before it", (long long)i,
                        (long long)g, (long long)(end - g * m->group));
        order[next[g]++] = (int32_t)i;
    }
    return WEIR_OK;
}

static weir_status read_order(const matrix *m, const char *label, int32_t **out, weir_err *err) {
    bool natural;
    WEIR_TRY(check_index(m, label, &natural, err));
    if (natural) return WEIR_OK;
    int64_t *next = weir_alloc((size_t)m->n_group, sizeof *next);
    int32_t *order = weir_alloc((size_t)m->cols, sizeof *order);
    const weir_status s = next && order ? sort_inputs(m, next, order, label, err)
                                        : weir_fail(err, WEIR_ENOMEM, "%s: no memory for the order of inputs",
                                                    weir__label(label));
    weir_free(next);
    if (s == WEIR_OK)
        *out = order;
    else
        weir_free(order);
    return s;
}

static weir_status check_shape(const weir_safetensors *s, const matrix *m, const char *label, weir_err *err) {
    weir_entry e;
    int64_t shape[2];
    WEIR_TRY(find_part(s, m, NAMES[m->form].shape, false, &e, label, err));
    if (!e.data) return WEIR_OK;
    if (strcmp(e.type, "I64") != 0 || e.bytes != sizeof shape)
        return FAIL(&e, "%.10s, expected two numbers (I64)", e.type);
    memcpy(shape, e.data, sizeof shape);
    if (shape[0] == m->rows && shape[1] == m->cols) return WEIR_OK;
    return FAIL(&e, "(%lld, %lld), but the codes are of (%lld, %lld)", (long long)shape[0],
                (long long)shape[1], (long long)m->rows, (long long)m->cols);
}

weir_status weir__int4_check(const weir_safetensors *s, weir_int4 c, const weir_entry *e, const char *label,
                             int32_t **order, weir_err *err) {
    char name[WEIR__ENTRY_NAME_CAP];
    weir_entry plain;
    matrix m;
    *order = NULL;
    if (weir__int4_weight_name(c, e->name, name) && weir__safetensors_find(s, name, &plain))
        return FAIL(e, "the same matrix is in the file as %.100s too", name);
    WEIR_TRY(open_matrix(s, c, e, &m, label, err));
    WEIR_TRY(check_shape(s, &m, label, err));
    return read_order(&m, label, order, err);
}

/* ---- scales and zeros ---------------------------------------------------------------------------------- */

static uint16_t scale_bits(const matrix *m, int64_t i) {
    uint16_t u;
    memcpy(&u, (const unsigned char *)m->scales.data + 2 * i, sizeof u);
    return u;
}

/* Of a normal number of f16, or zero; false: it is neither. */
static bool f16_of_bf16(uint16_t bits, uint16_t *out) {
    const int exponent = (bits >> 7 & 255) - 127 + 15;
    const bool zero = (bits & 0x7fff) == 0;
    if (!zero && (exponent < 1 || exponent > 30)) return false;
    *out = (uint16_t)((bits & 0x8000) | (zero ? 0 : exponent << 10 | (bits & 127) << 3));
    return true;
}

/* Whether a q4_0 says the same. */
static bool is_symmetric(const matrix *m) {
    const uint32_t eights = m->form == WEIR_INT4_GPTQ ? 0x77777777u : 0x88888888u;
    const int64_t n = (m->rows + 7) / 8 * m->n_group;
    uint16_t f16;
    for (int64_t i = 0; m->zeros.data && i < n; i++)
        if (word_at(&m->zeros, i) != eights) return false;
    for (int64_t i = 0; m->scales.dtype == WEIR_DTYPE_BF16 && i < m->rows * m->n_group; i++)
        if (!f16_of_bf16(scale_bits(m, i), &f16)) return false;
    return true;
}

static weir_dtype dtype_of(const matrix *m) {
    const int large = weir_dtype_block(WEIR_DTYPE_INT4_128);
    if (m->form == WEIR_INT4_MXFP4) return WEIR_DTYPE_MXFP4;
    if (m->group % large == 0 && m->cols % large == 0) return WEIR_DTYPE_INT4_128;
    return is_symmetric(m) ? WEIR_DTYPE_Q4_0 : WEIR_DTYPE_INT4;
}

static uint32_t zero_of(const matrix *m, int64_t row, int64_t g) {
    static const int awq_nibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    if (!m->zeros.data) return 8;
    const int64_t at = by_output(m) ? row / 8 * m->n_group + g : g * (m->rows / 8) + row / 8;
    const int nibble = m->form == WEIR_INT4_AWQ ? awq_nibble[row % 8] : (int)(row % 8);
    const uint32_t word = word_at(&m->zeros, at) + (m->form == WEIR_INT4_GPTQ ? 0x11111111u : 0);
    return word >> (4 * nibble) & 15;
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* Exchanges the bits of *b that `mask` names with those `by` above them of *a. */
static void exchange(uint32_t *a, uint32_t *b, uint32_t mask, int by) {
    const uint32_t t = (*a >> by ^ *b) & mask;
    *b ^= t;
    *a ^= t << by;
}

/* Nibble j of word i to nibble i of word j. */
static void transpose(uint32_t v[8]) {
    for (int i = 0; i < 8; i += 2) exchange(&v[i], &v[i + 1], 0x0f0f0f0fu, 4);
    for (int i = 0; i < 8; i++)
        if (i % 4 < 2) exchange(&v[i], &v[i + 2], 0x00ff00ffu, 8);
    for (int i = 0; i < 4; i++) exchange(&v[i], &v[i + 4], 0x0000ffffu, 16);
}

/* The codes 32 b … 32 b + 31 of n outputs from `row` on, n at most 8 and of awq 8: eight inputs a word. */
static void take_codes(const matrix *m, int64_t row, int n, int64_t b, uint32_t word[8][4]) {
    static const int awq_output[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    if (m->form != WEIR_INT4_AWQ) {
        const int64_t down = by_output(m) ? m->cols / 8 : 1, along = by_output(m) ? 1 : m->rows;
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < n; i++)
                word[i][j] = word_at(&m->codes, (row + i) * down + (4 * b + j) * along);
        return;
    }
    for (int j = 0; j < 4; j++) {
        uint32_t v[8];
        for (int i = 0; i < 8; i++)
            v[i] = word_at(&m->codes, (BLOCK * b + 8 * j + i) * (m->rows / 8) + row / 8);
        transpose(v);
        for (int i = 0; i < 8; i++) word[awq_output[i]][j] = v[i];
    }
}

/* Eight nibbles to the low halves of eight bytes. */
static uint64_t spread(uint32_t word) {
    uint64_t u = word;
    u = (u | u << 16) & 0x0000ffff0000ffffull;
    u = (u | u << 8) & 0x00ff00ff00ff00ffull;
    return (u | u << 4) & 0x0f0f0f0f0f0f0f0full;
}

/* What goes before a block's codes, to `to`. */
static void put_scale(const matrix *m, weir_dtype dtype, unsigned char *to, int64_t row, int64_t g) {
    const int64_t at = by_output(m) ? row * m->n_group + g : g * m->rows + row;
    if (dtype == WEIR_DTYPE_MXFP4) {
        *to = ((const unsigned char *)m->scales.data)[at];
        return;
    }
    const bool bf16 = m->scales.dtype == WEIR_DTYPE_BF16;
    const uint16_t bits = scale_bits(m, at);
    if (dtype == WEIR_DTYPE_Q4_0) {
        uint16_t d = bits;
        if (bf16) (void)f16_of_bf16(bits, &d); /* it fits: is_symmetric */
        memcpy(to, &d, sizeof d);
        return;
    }
    const float d = bf16 ? weir_f32_from_bf16(bits) : weir_f32_from_f16(bits);
    const uint32_t word = weir__int4_word(d, zero_of(m, row, g));
    memcpy(to, &word, sizeof word);
}

/* 32 codes in order: byte i has codes i and i + 16. */
static void put_halves(const uint32_t word[4], unsigned char *to) {
    for (int i = 0; i < 2; i++) {
        const uint64_t eight = spread(word[i]) | spread(word[i + 2]) << 4;
        memcpy(to + 8 * i, &eight, sizeof eight);
    }
}

void weir__int4_codes(const unsigned char in[16], unsigned char to[16]) {
    uint32_t word[4];
    memcpy(word, in, sizeof word);
    put_halves(word, to);
}

/* Codes 32 b … 32 b + 31 of an output into its row of blocks, and the scale before the first of a block. */
static void put_codes(const matrix *m, weir_dtype dtype, unsigned char *to, int64_t row, int64_t b,
                      const uint32_t word[4]) {
    const int each = weir_dtype_block(dtype) / BLOCK, bytes = weir_dtype_block_bytes(dtype);
    to += b / each * bytes;
    if (b % each == 0) put_scale(m, dtype, to, row, BLOCK * b / m->group);
    put_halves(word, to + bytes - (each - b % each) * BLOCK / 2);
}

bool weir__int4_tensor(const weir_safetensors *s, weir_int4 c, const weir_entry *e, const int32_t *order,
                       weir_tensor *out) {
    matrix m;
    if (open_matrix(s, c, e, &m, "", NULL) != WEIR_OK) return false;
    const int64_t shape[2] = {m.rows, m.cols};
    *out = weir_tensor_of(NULL, dtype_of(&m), shape, 2);
    out->order = order;
    return true;
}

/* Codes 32 b … 32 b + 31 of an output once its inputs are in order; codes (cols / 8): as in the file. */
static void put_in_order(const int32_t *order, const uint32_t *codes, int64_t b, uint32_t word[4]) {
    for (int j = 0; j < 4; j++) {
        uint32_t w = 0;
        for (int t = 0; t < 8; t++) {
            const uint32_t input = (uint32_t)order[BLOCK * b + 8 * j + t];
            w |= (codes[input / 8] >> 4 * (input % 8) & 15) << 4 * t;
        }
        word[j] = w;
    }
}

/* Outputs [first, end), TILE at most, as blocks to `to`. Where inputs have an order, first all codes to room
 * (TILE, cols / 8): eight of a word go to eight blocks, and some forms have an output's words far apart. */
static void pack_tile(const matrix *m, weir_dtype dtype, int64_t first, int64_t end, uint32_t *room,
                      unsigned char *to) {
    const int64_t row_bytes = weir_dtype_row_bytes(dtype, m->cols), row_words = m->cols / 8;
    uint32_t word[8][4];
    for (int64_t b = 0; b < m->cols / BLOCK; b++) {
        for (int64_t row = first; row < end; row += 8) {
            const int n = end - row < 8 ? (int)(end - row) : 8;
            take_codes(m, row, n, b, word);
            for (int i = 0; i < n; i++) {
                const int64_t at = row + i - first;
                if (room)
                    memcpy(room + at * row_words + 4 * b, word[i], sizeof word[i]);
                else
                    put_codes(m, dtype, to + at * row_bytes, row + i, b, word[i]);
            }
        }
    }
    for (int64_t at = 0; room && at < end - first; at++)
        for (int64_t b = 0; b < m->cols / BLOCK; b++) {
            put_in_order(m->order, room + at * row_words, b, word[0]);
            put_codes(m, dtype, to + at * row_bytes, first + at, b, word[0]);
        }
}

void *weir__int4_pack(const weir_safetensors *s, weir_int4 c, const weir_entry *e, const int32_t *order) {
    matrix m;
    if (open_matrix(s, c, e, &m, "", NULL) != WEIR_OK) return NULL;
    m.order = order;
    const weir_dtype dtype = dtype_of(&m);
    const int64_t row_bytes = weir_dtype_row_bytes(dtype, m.cols);
    uint32_t *room = order ? weir_alloc(TILE, (size_t)m.cols / 2) : NULL;
    unsigned char *out = order && !room ? NULL : weir_alloc((size_t)m.rows, (size_t)row_bytes);
    for (int64_t tile = 0; out && tile < m.rows; tile += TILE)
        pack_tile(&m, dtype, tile, m.rows - tile < TILE ? m.rows : tile + TILE, room, out + tile * row_bytes);
    weir_free(room);
    return out;
}
