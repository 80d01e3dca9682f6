#include "tests/ranks/group.h"

#include <criterion/criterion.h>
#include <pthread.h>

typedef struct seat {
    weir_comm *c;
    group_fn fn;
    void *arg;
    pthread_t thread;
} seat;

static void *sit(void *arg) {
    const seat *s = arg;
    s->fn(s->arg, s->c);
    return NULL;
}

void group_run(int n_rank, double seconds, group_fn fn, void *arg) {
    weir_comm *c[WEIR_RANKS];
    seat s[WEIR_RANKS];
    cr_assert_eq(weir__comm_local_open(c, n_rank, seconds, false), WEIR_OK);
    for (int r = 0; r < n_rank; r++) {
        s[r] = (seat){.c = c[r], .fn = fn, .arg = arg};
        cr_assert_eq(pthread_create(&s[r].thread, NULL, sit, &s[r]), 0);
    }
    for (int r = 0; r < n_rank; r++) pthread_join(s[r].thread, NULL);
    for (int r = 0; r < n_rank; r++) weir__comm_close(c[r]);
}
