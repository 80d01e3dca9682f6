/* Requests over one engine: who waits, whose prompt runs next, who is stepped. Knows weir.h alone.
 *
 * The lock guards lists and states. A round runs models without it: the thread that finds work and no other
 * stepping becomes the stepping thread for one round. What a round's callbacks bring is kept in `fresh` of
 * each request, which only that thread touches, and is handed over under the lock when the round ends. A
 * request that has ended holds no slot, so that any thread may free it while others are stepped: only a step
 * ends one, or what broke the engine, after which nothing is stepped. */
#include "host/queue/queue.h"

/* Waiting uses a monotonic clock. */
static bool make_condition(pthread_cond_t *c) {
    pthread_condattr_t how;
    if (pthread_condattr_init(&how) != 0) return false;
    const bool ok = pthread_condattr_setclock(&how, CLOCK_MONOTONIC) == 0 && pthread_cond_init(c, &how) == 0;
    pthread_condattr_destroy(&how);
    return ok;
}

static void free_queue(weir_queue *q) {
    weir__order_close(&q->order);
    weir__heap_free(&q->due);
    weir_free(q->active);
    weir_free(q->list);
    weir_free(q->listed);
    weir_free(q);
}

static bool due_before(const void *pa, const void *pb) {
    const weir_request *a = pa, *b = pb;
    return a->due < b->due;
}

static void init_lists(weir_queue *q) {
    weir__node_init(&q->all);
    weir__node_init(&q->events);
    weir__node_init(&q->held);
    weir__node_init(&q->leaving);
    weir__order_open(&q->order, q->now());
    q->due = (weir_heap){.before = due_before, .place = offsetof(weir_request, due_place)};
}

static weir_queue *new_queue(weir_engine *e, const weir_queue_options *opt) {
    weir_queue *q = weir_calloc(1, sizeof *q);
    if (!q) return NULL;
    q->e = e;
    q->now = weir_seconds;
    if (opt) q->options = *opt;
    if (!(q->options.stall_seconds > 0.0)) q->options.stall_seconds = 0.020;
    weir_engine_get_facts(e, &q->facts);
    init_lists(q);
    const size_t slots = (size_t)q->facts.n_parallel;
    q->shared = q->facts.kv_total < slots * (q->facts.kv_per_session[0] + q->facts.kv_per_session[1]);
    const size_t n = slots > WEIR_QUEUE_LEAVING ? slots : WEIR_QUEUE_LEAVING;
    q->active = weir_calloc(slots, sizeof(weir_request *));
    q->list = weir_calloc(n, sizeof(weir_session *));
    q->listed = weir_calloc(n, sizeof(weir_request *));
    if (q->active && q->list && q->listed) return q;
    free_queue(q);
    return NULL;
}

weir_status weir_queue_open(weir_queue **out, weir_engine *e, const weir_queue_options *opt, weir_err *err) {
    weir_queue *q = new_queue(e, opt);
    if (!q) return weir_fail(err, WEIR_ENOMEM, "out of memory for a queue");
    if (pthread_mutex_init(&q->lock, NULL) != 0) {
        free_queue(q);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a lock");
    }
    if (!make_condition(&q->changed)) {
        pthread_mutex_destroy(&q->lock);
        free_queue(q);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a condition");
    }
    *out = q;
    return WEIR_OK;
}

void weir_queue_close(weir_queue *q) {
    if (!q) return;
    while (!weir__node_alone(&q->all)) weir__request_discard(WEIR_NODE_OF(q->all.next, weir_request, in_all));
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free_queue(q);
}

void weir_queue_get_facts(weir_queue *q, weir_queue_facts *out) {
    pthread_mutex_lock(&q->lock);
    *out = (weir_queue_facts){.waiting = q->n_in[WEIR_REQUEST_WAITING],
                              .prompts = q->n_in[WEIR_REQUEST_PROMPT],
                              .running = q->n_in[WEIR_REQUEST_RUNNING],
                              .waiting_tokens = q->waiting_tokens,
                              .suspended_total = q->suspended_total,
                              .expected_wait_seconds = weir__queue_expected_wait(q),
                              .round_began = q->round_began};
    pthread_mutex_unlock(&q->lock);
}
