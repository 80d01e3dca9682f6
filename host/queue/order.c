#include "host/queue/order.h"

#include <math.h>

#include "kernels/base/mem.h"

static const double window_seconds = 60.0 / WEIR_WINDOWS;

static weir_waiting *head_of(const weir_line *l) {
    return WEIR_NODE_OF(l->waiting.next, weir_waiting, in_line);
}

static bool line_before(const void *pa, const void *pb) {
    const weir_line *a = pa, *b = pb;
    if (a->priority != b->priority) return a->priority < b->priority;
    if (a->client->served != b->client->served) return a->client->served < b->client->served;
    return head_of(a)->number < head_of(b)->number;
}

void weir__order_open(weir_order *o, double now) {
    *o = (weir_order){.lines = {.before = line_before, .place = offsetof(weir_line, place)},
                      .window_began = now};
}

void weir__order_close(weir_order *o) {
    for (size_t i = 0; i < o->n_bucket; i++)
        for (weir_client *c = o->bucket[i], *next; c; c = next) next = c->next, weir_free(c);
    weir_free(o->bucket);
    weir__heap_free(&o->lines);
}

/* ---- clients ------------------------------------------------------------------------------------------- */

static weir_client **bucket_of(const weir_order *o, uint64_t id) {
    return &o->bucket[(size_t)((id * 0x9e3779b97f4a7c15u) >> 32) & (o->n_bucket - 1)];
}

/* A bucket to a client, or more. */
static bool grow_buckets(weir_order *o) {
    if (o->n_client < o->n_bucket) return true;
    weir_order wide = {.n_bucket = o->n_bucket > 0 ? 2 * o->n_bucket : 16};
    wide.bucket = weir_calloc(wide.n_bucket, sizeof *wide.bucket);
    if (!wide.bucket) return false;
    for (size_t i = 0; i < o->n_bucket; i++)
        for (weir_client *c = o->bucket[i], *next; c; c = next) {
            next = c->next;
            weir_client **at = bucket_of(&wide, c->id);
            c->next = *at;
            *at = c;
        }
    weir_free(o->bucket);
    o->bucket = wide.bucket;
    o->n_bucket = wide.n_bucket;
    return true;
}

static weir_client *add_client(weir_order *o, uint64_t id) {
    weir_client *c = grow_buckets(o) ? weir_calloc(1, sizeof *c) : NULL;
    if (!c) return NULL;
    c->id = id;
    for (int i = 0; i < WEIR_PRIORITIES; i++) {
        c->line[i] = (weir_line){.client = c, .priority = WEIR_PRIORITY_MIN + i, .place = WEIR_HEAP_OUT};
        weir__node_init(&c->line[i].waiting);
    }
    weir_client **at = bucket_of(o, id);
    c->next = *at;
    *at = c;
    o->n_client++;
    return c;
}

static weir_client *find_client(const weir_order *o, uint64_t id) {
    weir_client *c = o->n_bucket > 0 ? *bucket_of(o, id) : NULL;
    while (c && c->id != id) c = c->next;
    return c;
}

bool weir__order_enter(weir_order *o, weir_waiting *w, uint64_t client, size_t n_line) {
    if (!weir__heap_reserve(&o->lines, n_line)) return false;
    weir_client *c = find_client(o, client);
    if (!c) c = add_client(o, client);
    if (!c) return false;
    c->n_request++;
    w->client = c;
    weir__node_init(&w->in_line);
    return true;
}

/* One that has nothing and had nothing lately; *at links it. */
static bool forget(weir_order *o, weir_client **at) {
    weir_client *c = *at;
    if (c->n_request > 0 || c->served > 0) return false;
    *at = c->next;
    o->n_client--;
    weir_free(c);
    return true;
}

void weir__order_leave(weir_order *o, weir_waiting *w) {
    weir_client *c = w->client, **at = bucket_of(o, c->id);
    w->client = NULL;
    c->n_request--;
    while (*at != c) at = &(*at)->next;
    (void)forget(o, at);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static weir_line *line_of(const weir_waiting *w) { return &w->client->line[w->priority - WEIR_PRIORITY_MIN]; }

/* Who comes again, with the number of before, has few in front. */
void weir__order_add(weir_order *o, weir_waiting *w) {
    weir_line *l = line_of(w);
    weir_node *at = &l->waiting;
    if (l->place != WEIR_HEAP_OUT && WEIR_NODE_OF(at->prev, weir_waiting, in_line)->number > w->number)
        for (at = at->next; WEIR_NODE_OF(at, weir_waiting, in_line)->number < w->number;) at = at->next;
    weir__node_insert(&w->in_line, at);
    if (l->place == WEIR_HEAP_OUT)
        weir__heap_add(&o->lines, l);
    else
        weir__heap_move(&o->lines, l);
}

void weir__order_remove(weir_order *o, weir_waiting *w) {
    weir_line *l = line_of(w);
    if (l->waiting.next == &w->in_line && l->waiting.prev == &w->in_line)
        weir__heap_remove(&o->lines, l); /* while it has a head to compare */
    weir__node_remove(&w->in_line);
    if (l->place != WEIR_HEAP_OUT) weir__heap_move(&o->lines, l);
}

weir_waiting *weir__order_first(const weir_order *o) {
    const weir_line *l = weir__heap_first(&o->lines);
    return l ? head_of(l) : NULL;
}

/* ---- the last minute ----------------------------------------------------------------------------------- */

void weir__order_serve(weir_order *o, weir_client *c, size_t n_token) {
    if (n_token == 0) return;
    c->part[o->window] += n_token;
    c->served += n_token;
    for (int i = 0; i < WEIR_PRIORITIES; i++)
        if (c->line[i].place != WEIR_HEAP_OUT) weir__heap_move(&o->lines, &c->line[i]);
}

static void forget_part(weir_order *o, int part) {
    for (size_t i = 0; i < o->n_bucket; i++)
        for (weir_client **at = &o->bucket[i]; *at;) {
            (*at)->served -= (*at)->part[part];
            (*at)->part[part] = 0;
            if (!forget(o, at)) at = &(*at)->next;
        }
}

/* Every client is looked at once in five seconds, and at no other time. */
void weir__order_advance(weir_order *o, double now) {
    const double parts = floor((now - o->window_began) / window_seconds);
    if (!(parts >= 1.0)) return;
    o->window_began += parts * window_seconds;
    for (int i = 0; i < WEIR_WINDOWS && i < parts; i++) {
        o->window = (o->window + 1) % WEIR_WINDOWS;
        forget_part(o, o->window);
    }
    weir__heap_order(&o->lines);
}
