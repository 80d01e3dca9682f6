#include "host/deck/kv.h"

#include <stdatomic.h>

#include "kernels/base/mem.h"

/* Pages are taken from a stack of unused numbers. A page may be in several slots and be kept beside them;
 * then nobody writes to it. A ring's pages belong to their slot, are never shared, and appear in its table as
 * often as they come round. */
struct weir_kv_pool {
    weir_backend *be;
    weir_kv_view view;
    int32_t n_slot, n_page, per_slot;
    _Atomic int32_t n_free; /* unused or idle; of a pool of rings, those of empty slots */
    int32_t n_unused;
    int32_t ring; /* pages of a slot; 0: as many as its length takes */
    int64_t max_len, keep;
    int32_t *table;   /* host (n_slot, per_slot); entries past a slot's length are 0 */
    int32_t *seen;    /* backend: the table as ops see it; the same array on the CPU */
    int32_t dirty[2]; /* slots [first, past) whose rows differ between the two */
    int32_t *refs;    /* (n_page) slots that a page is in, and one if it is kept */
    bool *kept;       /* (n_page) */
    int32_t *unused;  /* (n_page) stack of n_unused */
    weir_kv_reclaim reclaim;
    void *ud;
    int64_t *len;  /* (n_slot) */
    int64_t *most; /* (n_slot) largest length since the slot was empty */
};

int64_t weir__kv_pages_for(int64_t len) { return (len + WEIR_PAGE - 1) / WEIR_PAGE; }
static int64_t pages_for(int64_t len) { return weir__kv_pages_for(len); }

/* One page more than hold `keep`, since those may begin and end inside pages; 0 where the whole sequence
 * takes no more. */
static int32_t ring_of(const weir_kv_shape *h) {
    const int64_t pages = pages_for(h->keep) + 1;
    return h->keep > 0 && pages < pages_for(h->max_len) ? (int32_t)pages : 0;
}

static int64_t pages_of_slot(const weir_kv_shape *h) {
    const int32_t ring = ring_of(h);
    return ring ? ring : pages_for(h->max_len);
}

bool weir__kv_is_ring(const weir_kv_shape *h) { return ring_of(h) > 0; }

int64_t weir__kv_shape_pages(const weir_kv_shape *h) {
    return h->n_page > 0 && !weir__kv_is_ring(h) ? h->n_page : pages_of_slot(h) * h->n_slot;
}

size_t weir__kv_page_bytes(const weir_kv_shape *h) {
    return (size_t)weir__kv_page_elems(h->n_layer, h->n_head_kv, h->head_dim) *
           (size_t)weir_dtype_bytes(h->dtype);
}

/* Largest pool whose page numbers and byte counts stay in range; false for nonsense. */
static bool shape_ok(const weir_kv_shape *h) {
    if (h->n_slot < 1 || h->max_len < 1 || h->n_layer < 1 || h->n_head_kv < 1 || h->head_dim < 1)
        return false;
    if (h->keep < 0 || h->keep > INT32_MAX || h->n_page < 0 || h->n_page > INT32_MAX) return false;
    if (h->max_len > INT32_MAX - WEIR_PAGE || pages_for(h->max_len) * h->n_slot > INT32_MAX) return false;
    const double elems = (double)weir__kv_page_elems(1, 1, 1) * h->n_layer * h->n_head_kv * h->head_dim;
    return elems * (double)weir__kv_shape_pages(h) < 0x1p60;
}

/* Bytes of each allocation, as weir_alloc rounds them. */
typedef struct kv_sizes {
    size_t pool, pages, table, refs, kept, unused, len, most;
} kv_sizes;

static size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

static kv_sizes sizes_of(const weir_kv_shape *h) {
    const size_t n_page = (size_t)weir__kv_shape_pages(h),
                 n_entry = (size_t)(pages_for(h->max_len) * h->n_slot);
    return (kv_sizes){.pool = lines(sizeof(struct weir_kv_pool)),
                      .pages = lines(n_page * weir__kv_page_bytes(h)),
                      .table = lines(n_entry * sizeof(int32_t)),
                      .refs = lines(n_page * sizeof(int32_t)),
                      .kept = lines(n_page * sizeof(bool)),
                      .unused = lines(n_page * sizeof(int32_t)),
                      .len = lines((size_t)h->n_slot * sizeof(int64_t)),
                      .most = lines((size_t)h->n_slot * sizeof(int64_t))};
}

weir_bytes weir__kv_pool_bytes(const weir_kv_shape *h, bool device) {
    if (!shape_ok(h)) return (weir_bytes){SIZE_MAX, SIZE_MAX};
    const kv_sizes s = sizes_of(h);
    const size_t book = s.pool + s.refs + s.kept + s.unused + s.len + s.most;
    if (!device) return (weir_bytes){.backend = s.pages + s.table + book};
    return (weir_bytes){.backend = s.pages + s.table, .host = s.table + book};
}

/* Backend memory starts at zero: attention loads whole vectors of a page, and no NaN may lie there. */
static weir_status allocate(weir_kv_pool *p, const kv_sizes *s) {
    weir_backend *be = p->be;
    p->refs = weir_calloc((size_t)p->n_page, sizeof *p->refs);
    p->kept = weir_calloc((size_t)p->n_page, sizeof *p->kept);
    p->unused = weir_alloc((size_t)p->n_page, sizeof *p->unused);
    p->len = weir_calloc((size_t)p->n_slot, sizeof *p->len);
    p->most = weir_calloc((size_t)p->n_slot, sizeof *p->most);
    if (!p->refs || !p->kept || !p->unused || !p->len || !p->most) return WEIR_ENOMEM;
    p->view.pool = weir__backend_alloc(be, s->pages);
    p->seen = weir__backend_alloc(be, s->table);
    if (!p->view.pool || !p->seen) return be->device ? WEIR_EDEVMEM : WEIR_ENOMEM;
    p->view.table = p->seen;
    p->table = be->device ? weir_calloc(s->table / sizeof *p->table, sizeof *p->table) : p->seen;
    if (!p->table) return WEIR_ENOMEM;
    WEIR_TRY(weir__backend_zero(be, p->view.pool, s->pages));
    return weir__backend_zero(be, p->seen, s->table);
}

static int32_t *slot_table(const weir_kv_pool *p, int32_t slot) {
    return p->table + (int64_t)slot * p->per_slot;
}

const int32_t *weir__kv_pool_row(const weir_kv_pool *p, int32_t slot) { return slot_table(p, slot); }
int32_t weir__kv_pool_row_pages(const weir_kv_pool *p) { return p->per_slot; }

static void touch(weir_kv_pool *p, int32_t slot) {
    const bool clean = p->dirty[0] == p->dirty[1];
    if (clean || slot < p->dirty[0]) p->dirty[0] = slot;
    if (clean || slot >= p->dirty[1]) p->dirty[1] = slot + 1;
}

static void lay_rings(weir_kv_pool *p) {
    for (int32_t slot = 0; slot < p->n_slot; slot++) {
        for (int32_t i = 0; i < p->per_slot; i++) slot_table(p, slot)[i] = slot * p->ring + i % p->ring;
        touch(p, slot);
    }
}

weir_status weir__kv_pool_create(weir_kv_pool **out, weir_backend *be, const weir_kv_shape *h) {
    if (!out || !be || !h || !shape_ok(h) || (!be->device && h->dtype != WEIR_DTYPE_F32)) return WEIR_EINVAL;
    weir_kv_pool *p = weir_calloc(1, sizeof *p);
    if (!p) return WEIR_ENOMEM;
    const kv_sizes sizes = sizes_of(h);
    *p = (weir_kv_pool){.be = be,
                        .n_slot = h->n_slot,
                        .max_len = h->max_len,
                        .keep = h->keep,
                        .ring = ring_of(h),
                        .per_slot = (int32_t)pages_for(h->max_len)};
    p->n_page = (int32_t)weir__kv_shape_pages(h);
    p->n_unused = p->n_page;
    atomic_init(&p->n_free, p->n_page);
    p->view = (weir_kv_view){.page_elems = weir__kv_page_elems(h->n_layer, h->n_head_kv, h->head_dim),
                             .table_stride = p->per_slot,
                             .n_layer = h->n_layer,
                             .n_head_kv = h->n_head_kv,
                             .head_dim = h->head_dim,
                             .dtype = h->dtype};
    const weir_status s = allocate(p, &sizes);
    if (s != WEIR_OK) {
        weir__kv_pool_free(p);
        return s;
    }
    for (int32_t i = 0; i < p->n_page; i++) p->unused[i] = p->n_page - 1 - i;
    if (p->ring) lay_rings(p);
    *out = p;
    return WEIR_OK;
}

void weir__kv_pool_free(weir_kv_pool *p) {
    if (!p) return;
    if (p->view.pool) weir__backend_free(p->be, p->view.pool);
    if (p->table != p->seen) weir_free(p->table);
    if (p->seen) weir__backend_free(p->be, p->seen);
    weir_free(p->refs);
    weir_free(p->kept);
    weir_free(p->unused);
    weir_free(p->len);
    weir_free(p->most);
    weir_free(p);
}

/* The caller has seen that one is free. */
static int32_t take_page(weir_kv_pool *p) {
    if (p->n_unused == 0) p->reclaim(p->ud);
    const int32_t page = p->unused[--p->n_unused];
    p->refs[page] = 1;
    p->n_free--;
    return page;
}

static void drop_page(weir_kv_pool *p, int32_t page) {
    p->refs[page]--;
    if (p->refs[page] == 0) p->unused[p->n_unused++] = page;
    if (p->refs[page] == p->kept[page]) p->n_free++;
}

weir_status weir__kv_pool_sync(weir_kv_pool *p) {
    const int64_t first = (int64_t)p->dirty[0] * p->per_slot, n = (int64_t)p->dirty[1] * p->per_slot - first;
    if (p->table != p->seen && n > 0)
        WEIR_TRY(
            weir__backend_upload(p->be, p->seen + first, p->table + first, (size_t)n * sizeof *p->table));
    p->dirty[0] = p->dirty[1] = 0;
    return WEIR_OK;
}

int64_t weir__kv_pool_lacks(const weir_kv_pool *p, int32_t slot, int64_t len) {
    return p->ring || len <= p->len[slot] ? 0 : pages_for(len) - pages_for(p->len[slot]);
}

int64_t weir__kv_pool_lacks_all(const weir_kv_pool *p, int64_t len) { return p->ring ? 0 : pages_for(len); }

static weir_status grow(weir_kv_pool *p, int32_t slot, int64_t len) {
    int32_t *table = slot_table(p, slot);
    const int64_t old = p->len[slot], have = pages_for(old), need = pages_for(len);
    if (old % WEIR_PAGE != 0 && p->kept[table[have - 1]]) return WEIR_EINVAL;
    if (need - have > p->n_free) return WEIR_EPAGES;
    for (int64_t i = have; i < need; i++) table[i] = take_page(p);
    if (need > have) touch(p, slot);
    return WEIR_OK;
}

/* Pages are there already; positions more than keep below the largest length may be overwritten. */
static weir_status resize_ring(weir_kv_pool *p, int32_t slot, int64_t len) {
    if (len > 0 && len < p->most[slot] - p->keep) return WEIR_EINVAL;
    p->n_free += p->ring * ((len == 0) - (p->len[slot] == 0));
    if (len == 0 || len > p->most[slot]) p->most[slot] = len;
    p->len[slot] = len;
    return WEIR_OK;
}

weir_status weir__kv_pool_resize(weir_kv_pool *p, int32_t slot, int64_t len) {
    if (!p || slot < 0 || slot >= p->n_slot || len < 0 || len > p->max_len) return WEIR_EINVAL;
    if (p->ring) return resize_ring(p, slot, len);
    if (len > p->len[slot]) WEIR_TRY(grow(p, slot, len));
    int32_t *table = slot_table(p, slot);
    for (int64_t i = pages_for(p->len[slot]); i > pages_for(len); i--) {
        drop_page(p, table[i - 1]);
        table[i - 1] = 0;
        touch(p, slot);
    }
    p->len[slot] = len;
    return WEIR_OK;
}

weir_status weir__kv_pool_reserve(weir_kv_pool *p, int32_t slot, int64_t upto) {
    if (p && p->ring && slot >= 0 && slot < p->n_slot && upto >= 0 && upto <= p->max_len) return WEIR_OK;
    return weir__kv_pool_resize(p, slot, upto);
}

int64_t weir__kv_pool_len(const weir_kv_pool *p, int32_t slot) { return p->len[slot]; }

/* ---- pages beside slots -------------------------------------------------------------------------------- */

void weir__kv_pool_set_reclaim(weir_kv_pool *p, weir_kv_reclaim reclaim, void *ud) {
    p->reclaim = reclaim;
    p->ud = ud;
}

int32_t weir__kv_pool_page(const weir_kv_pool *p, int32_t slot, int64_t i) { return slot_table(p, slot)[i]; }

void weir__kv_pool_keep(weir_kv_pool *p, int32_t page) {
    p->kept[page] = true;
    p->refs[page]++;
}

bool weir__kv_pool_is_idle(const weir_kv_pool *p, int32_t page) {
    return p->kept[page] && p->refs[page] == 1;
}

void weir__kv_pool_let_go(weir_kv_pool *p, int32_t page) {
    p->kept[page] = false;
    if (--p->refs[page] == 0) p->unused[p->n_unused++] = page; /* it was free before */
}

void weir__kv_pool_adopt(weir_kv_pool *p, int32_t slot, int64_t i, int32_t page, int64_t len) {
    int32_t *entry = slot_table(p, slot) + i;
    p->n_free -= weir__kv_pool_is_idle(p, page);
    p->refs[page]++;
    if (i < pages_for(p->len[slot])) drop_page(p, *entry);
    *entry = page;
    touch(p, slot);
    if (len > p->len[slot]) p->len[slot] = len;
}

/* ---- counts -------------------------------------------------------------------------------------------- */

int32_t weir__kv_pool_pages_used(const weir_kv_pool *p) {
    return p->ring ? p->n_page : p->n_page - p->n_free;
}
int32_t weir__kv_pool_free_pages(const weir_kv_pool *p) { return p->n_free; }
int32_t weir__kv_pool_pages(const weir_kv_pool *p) { return p->n_page; }
const weir_kv_view *weir__kv_pool_view(const weir_kv_pool *p) { return &p->view; }
