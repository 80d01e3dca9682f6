#include "host/measure/costs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "host/deck/deck.h"
#include "host/session/session.h"
#include "kernels/base/clock.h"
#include "kernels/base/mem.h"

/* ---- the table as text --------------------------------------------------------------------------------- */

static const double UNIT = 1.0 / 32.0, MOST = 1024.0;

static float rounded(double x) { return (float)(nearbyint(x / UNIT) * UNIT); }

/* From the n entries that are known. */
static void extend(weir_gamma_costs *c, int n) {
    const float last = c->verify[n - 1], step = n > 1 ? last - c->verify[n - 2] : 0.0f;
    for (int j = n; j <= WEIR_GAMMA_MAX; j++)
        c->verify[j] = fminf(last + (float)(j - n + 1) * step, (float)MOST);
}

/* A number in [0, MOST] that ends at one of `ends`; NULL: there is none. */
static const char *read_number(const char *text, const char *ends, double *x) {
    char *end = NULL;
    if (*text != '.' && (*text < '0' || *text > '9')) return NULL;
    *x = strtod(text, &end);
    if (!(*x <= MOST) || (*end && !strchr(ends, *end))) return NULL;
    return end;
}

weir_status weir__costs_parse(const char *text, weir_gamma_costs *out, weir_err *err) {
    weir_gamma_costs c = {.verify = {1.0f}};
    double x = 0.0;
    int n = 1;
    const char *at = read_number(text, ":", &x);
    bool ok = at && *at == ':';
    c.draft = rounded(x);
    while (ok && *at) {
        at = read_number(at + 1, ",", &x);
        ok = at && n <= WEIR_GAMMA_MAX && rounded(x) >= c.verify[n - 1];
        if (ok) c.verify[n++] = rounded(x);
    }
    if (!ok || n < 2)
        return weir_fail(
            err, WEIR_EINVAL,
            "costs %.60s: expected D:V1,V2,..., tokens of the verifier that a draft step and blocks "
            "of 1, 2, ... drafts cost, up to %d numbers from 1 that do not fall",
            text, WEIR_GAMMA_MAX);
    extend(&c, n);
    *out = c;
    return WEIR_OK;
}

void weir__costs_format(const weir_gamma_costs *c, int n, char *out, size_t cap) {
    size_t used = (size_t)snprintf(out, cap, "%.9g", (double)c->draft);
    for (int j = 1; j <= n && used < cap; j++)
        used += (size_t)snprintf(out + used, cap - used, "%c%.9g", j == 1 ? ':' : ',', (double)c->verify[j]);
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

/* Seconds that a block's parts took; of a device all in one. */
typedef struct parts {
    double draft, rest;
} parts;

typedef struct probe {
    weir_engine *e;
    weir_session *s;
} probe;

static int most_drafts(const weir_engine *e) {
    return e->pair.max_draft < WEIR_GAMMA_AUTO_MAX ? e->pair.max_draft : WEIR_GAMMA_AUTO_MAX;
}

/* A session of gamma drafts a block, of the verifier alone at 0. */
static weir_status open_probe(probe *p, int gamma) {
    enum { PROMPT = 4, OUTPUT = 64 };
    int32_t prompt[PROMPT];
    const weir_engine *e = p->e;
    const int ctx = e->pair.ctx_size, room = e->pair.facts.encoder_decoder ? ctx : ctx - 1;
    const int n_prompt = room < PROMPT ? room : PROMPT;
    weir_session_options o = weir_session_options_default();
    for (int i = 0; i < PROMPT; i++) prompt[i] = (i * 7919 + 101) % e->pair.n_vocab;
    o.method = gamma > 0 ? WEIR_METHOD_SPECULATIVE : WEIR_METHOD_VERIFIER;
    o.n_draft = gamma;
    o.max_tokens = ctx < OUTPUT ? ctx : OUTPUT;
    o.ignore_eos = true;
    if (weir_draft_facts(e->pair.draft)->greedy) o.law.temp = 0.0f;
    if (n_prompt < 1) return WEIR_ETOOLONG;
    WEIR_TRY(weir_session_create(p->e, &o, prompt, (size_t)n_prompt, NULL, NULL, &p->s, NULL));
    if (p->s->retold) p->s->retold->fills = true;
    return p->s->retold && p->s->retold->full ? WEIR_ETOOLONG : WEIR_OK;
}

/* Blocks of a launch, from the first token on; what was written is forgotten again. */
static weir_status run_blocks(probe *p, int blocks, parts *out) {
    weir_session *s = p->s;
    weir__session_restart(s);
    for (int side = 0; side < 2; side++)
        if (s->cached[side] > 0) s->cached[side] = 0;
    const weir_session_stats before = s->stats;
    const double t0 = weir_seconds();
    WEIR_TRY(weir_step(p->e, &s, 1, blocks, NULL));
    const double spent = weir_seconds() - t0;
    if (s->finish == WEIR_FINISH_CANCELLED) return WEIR_ECANCELED;
    const int64_t ran = s->opt.method == WEIR_METHOD_VERIFIER
                            ? s->stats.verifier_calls - before.verifier_calls
                            : s->stats.blocks - before.blocks;
    if (ran < 1) return WEIR_EINVAL;
    out->draft = s->stats.seconds_draft - before.seconds_draft;
    out->rest =
        s->stats.seconds_verify + s->stats.seconds_accept - before.seconds_verify - before.seconds_accept;
    if (p->e->pair.be->device) out->rest = spent, out->draft = 0.0;
    out->draft /= (double)ran, out->rest /= (double)ran;
    return WEIR_OK;
}

/* Numbers of drafts that are timed, the largest first: it touches all that the others do. */
typedef struct plan {
    int n, gamma[8], blocks;
    double seconds; /* of one of them, after which no further turn begins */
} plan;

static plan plan_of(const weir_engine *e) {
    static const int cpu[] = {7, 5, 3, 2, 1}, device[] = {2};
    const bool on_device = e->pair.be->device;
    const int *list = on_device ? device : cpu, n = on_device ? 1 : 5, most = most_drafts(e);
    plan p = {.blocks = on_device ? 16 : 1, .seconds = 0.01};
    p.gamma[p.n++] = most;
    for (int i = 0; i < n; i++)
        if (list[i] < most) p.gamma[p.n++] = list[i];
    p.gamma[p.n++] = 0;
    return p;
}

/* The least of some turns, since others' work only adds to it. What is done once, reading weights and
 * recording blocks, is done in a turn that does not count. */
static weir_status time_turns(probe *p, const plan *how, bool first, parts *best) {
    enum { TURNS = 32 };
    int64_t left;
    double spent = 0.0;
    WEIR_TRY(weir_session_prefill(p->s, INT64_MAX, &left, NULL));
    for (int turn = first ? -1 : 0; turn < TURNS && (turn < 1 || spent < how->seconds); turn++) {
        parts x;
        const double t0 = weir_seconds();
        WEIR_TRY(run_blocks(p, how->blocks, &x));
        spent += weir_seconds() - t0;
        if (turn >= 0 && x.draft < best->draft) best->draft = x.draft;
        if (turn >= 0 && x.rest < best->rest) best->rest = x.rest;
    }
    return WEIR_OK;
}

static weir_status time_numbers(weir_engine *e, const plan *how, bool first, parts *best) {
    for (int i = 0; i < how->n; i++) {
        probe p = {.e = e};
        weir_status st = open_probe(&p, how->gamma[i]);
        if (st == WEIR_OK) st = time_turns(&p, how, first && (i == 0 || e->pair.be->device), &best[i]);
        weir_session_free(p.s);
        WEIR_TRY(st);
    }
    return WEIR_OK;
}

/* Several times over as long as that is quick, so that a busy moment of the machine does not hit one number
 * alone. */
static weir_status time_blocks(weir_engine *e, const plan *how, parts *best) {
    enum { PASSES = 4 };
    const double t0 = weir_seconds();
    for (int i = 0; i < how->n; i++) best[i] = (parts){INFINITY, INFINITY};
    for (int k = 0; k < PASSES && (k == 0 || weir_seconds() - t0 < how->n * how->seconds * k); k++)
        WEIR_TRY(time_numbers(e, how, k == 0, best));
    weir_prefix_clear(e);
    return WEIR_OK;
}

/* A device's block has a fixed shape, so that its rows cost as much live as dead; what a draft step costs is
 * how blocks grow. */
static void split_device(const plan *p, parts *best) {
    const double steps = p->gamma[0] - (p->n > 2 ? p->gamma[1] : 0);
    double step = (best[0].rest - best[p->n > 2 ? 1 : p->n - 1].rest) / steps;
    if (!(step > 0.0)) step = 0.0;
    for (int i = 0; i < p->n; i++) {
        best[i].draft = p->gamma[i] * step;
        best[i].rest -= best[i].draft;
    }
}

/* Between the numbers that were timed costs grow evenly. None costs more than a larger one: where it seems
 * to, its timing is wrong, since what disturbs one only adds to it. */
static void table_of(const plan *p, parts *best, weir_gamma_costs *c) {
    double draft = INFINITY;
    for (int i = 1; i < p->n; i++)
        if (best[i - 1].rest < best[i].rest) best[i].rest = best[i - 1].rest;
    const double token = best[p->n - 1].rest;
    for (int i = 0; i < p->n - 1; i++)
        if (best[i].draft / p->gamma[i] < draft) draft = best[i].draft / p->gamma[i];
    *c = (weir_gamma_costs){.draft = rounded(draft / token), .verify = {1.0f}};
    for (int i = p->n - 1; i > 0; i--) {
        const int from = p->gamma[i], upto = p->gamma[i - 1];
        const double a = best[i].rest / token, b = best[i - 1].rest / token;
        for (int j = from + 1; j <= upto; j++) {
            c->verify[j] = rounded(a + (b - a) * (j - from) / (upto - from));
        }
    }
    extend(c, p->gamma[0] + 1);
}

static bool is_usable(const weir_gamma_costs *c) {
    if (!(c->draft >= 0.0f) || !(c->draft <= (float)MOST)) return false;
    for (int j = 0; j <= WEIR_GAMMA_MAX; j++)
        if (!(c->verify[j] >= 1.0f) || !(c->verify[j] <= (float)MOST)) return false;
    return true;
}

/* *measured false: there are no figures. */
static weir_status measure(weir_engine *e, weir_gamma_costs *c, bool *measured) {
    const plan p = plan_of(e);
    parts best[8];
    const weir_status st = time_blocks(e, &p, best);
    *measured = false;
    if (st == WEIR_ELOGITS || st == WEIR_EPAGES || st == WEIR_ETOOLONG) return WEIR_OK;
    WEIR_TRY(st);
    if (e->pair.be->device) split_device(&p, best);
    table_of(&p, best, c);
    *measured = is_usable(c);
    return WEIR_OK;
}

weir_status weir__costs_open(weir_engine *e, bool given, weir_err *err) {
    static const char guess[] = "0.25:1.25,1.375";
    weir_engine_facts *f = &e->pair.facts;
    bool measured = false;
    if (!given) {
        const weir_status st = measure(e, &e->pair.cost, &measured);
        if (weir__is_lost(st)) return weir__engine_lost(e, st, err);
        if (st != WEIR_OK)
            return weir_fail(err, st, "costs of blocks could not be measured: %s", weir_status_str(st));
        if (!measured) WEIR_TRY(weir__costs_parse(guess, &e->pair.cost, err));
    }
    weir__costs_format(&e->pair.cost, most_drafts(e), e->pair.cost_text, sizeof e->pair.cost_text);
    f->costs = e->pair.cost_text;
    f->costs_from = given ? "given" : measured ? "measured" : "a guess";
    return weir__block_loop_set_costs(e->deck.loop);
}
