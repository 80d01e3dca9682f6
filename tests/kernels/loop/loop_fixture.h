#ifndef WEIR_TESTS_KERNELS_LOOP_LOOP_FIXTURE_H
#define WEIR_TESTS_KERNELS_LOOP_LOOP_FIXTURE_H

#include "kernels/backend.h"

/* A bucket of the block loop on any backend, fed with made-up logits: the ops run as a block has them, and
 * what they leave is brought to the host. Every helper fails the running test on error. */

enum { BUCKET_SEATS = 48, BUCKET_ROWS = 8 * (WEIR_GAMMA_MAX + 1), BUCKET_DEPTH = 3 };

/* Rows of one forward call as loop_rows made them. */
typedef struct bucket_rows {
    int32_t n_row, n_out;
    int32_t token[BUCKET_ROWS], pos[BUCKET_ROWS], slot[BUCKET_ROWS], law_of[BUCKET_ROWS];
} bucket_rows;

typedef struct bucket {
    weir_backend *be;
    weir_loop l;
    int32_t *token, *pos, *slot, *law_of; /* backend */
    weir_law *law;
    weir_minmax *minmax;     /* given to loop_sample and row_stats; NULL until bucket_use_minmaxes */
    bool at_once;            /* the statistics of the verifier's rows are left to loop_close */
    weir_gamma_costs *costs; /* NULL until bucket_use_costs */
    void *mapped_ring, *mapped_flags;
    /* what the last block left, on the host */
    bucket_rows rows[WEIR_GAMMA_MAX + 2]; /* of the drafter's steps, then the verifier's */
    weir_seat seat[BUCKET_SEATS];
    weir_block_outcome record[BUCKET_SEATS];
    weir_loop_flags flags;
} bucket;

/* Logits of a block of a bucket: q (gamma + 1, n_seat, n_vocab), p (n_seat, gamma + 1, n_vocab), dense. The
 * two models agree more or less, and now and then a row wants token `eos` badly. */
typedef struct bucket_logits {
    float *q, *p;
} bucket_logits;
bucket_logits logits_new(int n_seat, int gamma, int n_vocab, int32_t eos, uint32_t seed);
void logits_free(bucket_logits *x);

bucket *bucket_new(weir_backend *be, int n_seat, int gamma, bool bonus, int n_vocab, int ld);
void bucket_free(bucket *b);
void bucket_sit(bucket *b, const weir_seat *seats, int launch_blocks); /* puts seats and starts a launch */
/* one block, then fetches what it left */
void bucket_block(bucket *b, const bucket_logits *x);
void bucket_ask_to_stop(bucket *b);
void bucket_use_costs(bucket *b, const weir_gamma_costs *costs); /* for seats that choose */
void seat_choose(weir_seat *s, int gamma, const weir_gamma_costs *costs);
void bucket_use_minmaxes(bucket *b); /* as a backend whose products make them */

/* Prompt lookup from its definition: what followed the longest suffix of n entries, at most `longest`, seen
 * before; the latest of equals; -1: none of `shortest`. */
int32_t lookup_oracle(const int32_t *history, int n, int shortest, int longest);
/* Prompt lookup in place of a drafter, histories of `ld` entries for slots below n_slot. Blocks then take the
 * verifier's row after input token t from row t of a table (n_vocab, n_vocab); rows[0] is the verifier's
 * call. bucket_get_q: rows (gamma + 1, n_seat, n_vocab), statistics (n_seat, gamma + 1). */
void bucket_use_lookup(bucket *b, int n_slot, int64_t ld, int shortest, int longest);
void bucket_put_history(bucket *b, int slot, const int32_t *ids, int n);
void bucket_get_history(bucket *b, int slot, int32_t *ids, int n);
void bucket_get_q(bucket *b, float *rows, weir_row_stats *stats);
void bucket_lookup_block(bucket *b, const float *table);

/* Seat i of a mix of rules, gammas up to `gamma`, temperatures and bonuses; ends of text {2, 5}. */
weir_seat seat_of_mix(int i, int gamma);
bool seats_need_bonus(const weir_seat *seats, int n, int gamma);

#endif
