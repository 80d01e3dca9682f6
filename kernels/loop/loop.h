#ifndef WEIR_KERNELS_LOOP_LOOP_H
#define WEIR_KERNELS_LOOP_LOOP_H

#include "kernels/accept/accept.h"
#include "kernels/loop/gamma.h"

/* The cascade loop as ops over state that lives on the backend, so that whole blocks run without the host.
 * The host puts sessions on seats, launches, and reads the outcomes from a ring; a block of
 * n_seat seats has a fixed shape, whatever its sessions do:
 *
 *   loop_rows(step 0)      drafter: 2 rows a seat, inputs n - 1 (dead at n = 0) and n of the timeline: after
 *                          a fully accepted block the drafter's cache lacks the first (trap 4); otherwise the
 *                          row writes the very bits that lie there
 *   loop_sample(step 0)    statistics of the seats' drafter rows, a draw from each
 *   loop_rows(step j)      1 row per seat: the token drafted last, at n + j              j = 1 … gamma - 1
 *   loop_sample(step j)
 *   [loop_rows(gamma), loop_sample(gamma) without a draw: the drafter's distribution after the last draft,
 *    if a seat of the bucket's gamma takes its bonus from pi (trap 3); a seat of fewer drafts has that row in
 *    the step after its last]
 *   loop_rows(verify)      verifier: gamma + 1 rows a seat, inputs n … n + gamma
 *   loop_close             statistics of those rows, accept, the closing token, the new lengths, the outcome
 *
 * With prompt lookup (weir_loop.lookup) one op takes the place of all drafter steps, and there is no drafter:
 *
 *   loop_lookup            drafts out of the seat's own history, their one-hot rows of q and statistics
 *
 * Input i of a seat's timeline has position base + i of its slot's self cache; draws are keyed by output
 * index, which has no base. A seat that is empty, has ended, or drafts less than the bucket's gamma leaves
 * dead rows: slot -1, law_of -1. gamma = 0 is the verifier alone: no drafter steps, one verifier row, its
 * token from p.
 *
 * Where a seat chooses (gamma auto), its gamma is the most that it drafts: loop_rows ends its drafts as
 * gamma.h says, and loop_close lets it learn from the rows that were decided. A rule that sees q only decides
 * by itself: drafting ends with the first row that defers, or when the block is full, as in the paper's
 * TokenCascade (algorithm 2), and until then no coin is needed.
 *
 * Where blocks are not captured, rows that no seat needs can be left out (weir_loop.first is set; the CPU):
 * all seats run, in order of falling gamma; a drafter step has a row for each seat up to the last one that
 * drafts; the first step has input n - 1 only where the drafter's cache lacks it; a seat has one verifier row
 * more than it has drafts; loop_close makes the statistics of the verifier's rows that a decision reaches
 * alone; and loop_close asks for the drafter's row after the last draft once a bonus from
 * pi needs it. Tokens, sources and statistics are the same. */

enum { WEIR_LOOP_EOS = 8, WEIR_LOOP_VERIFY = -1 };

typedef enum weir_seat_end {
    WEIR_SEAT_RUNNING = 0,
    WEIR_SEAT_STOP,   /* end of text (not among the emitted tokens) */
    WEIR_SEAT_LENGTH, /* the output limit */
    WEIR_SEAT_BROKEN, /* unusable logits */
    WEIR_SEAT_EMPTY,  /* no session sits here */
} weir_seat_end;

/* One session inside the loop. */
typedef struct weir_seat {
    weir_law law;
    int32_t slot;       /* page tables */
    int32_t base;       /* position of timeline input 0 in the self cache: a decoder's prompt comes before
                                it */
    int32_t gamma;      /* drafts of a block, 0 … the bucket's */
    int32_t chooses;    /* 1: at most so many, as the loop's costs and the seat's past say */
    int32_t lacks;      /* 1: the drafter's cache lacks input n - 1; matters only where rows are left out */
    int32_t limit;      /* output tokens after which it ends */
    int32_t bonus_from; /* output index from which a bonus is drawn from pi; INT32_MAX: never
                                (weir__seat_bonus_from) */
    int32_t eos[WEIR_LOOP_EOS], n_eos;
    int32_t before;    /* prompt lookup: history entries before output token 0 */
    int32_t unmatched; /* written by loop_lookup, else 0. 1: there is no q after the last draft, so that the
                          token after a fully accepted block is p's */
    /* moved by the loop; from here on (kernels/loop/close.cu) */
    int32_t n;       /* tokens emitted: the output index of the next one */
    int32_t tail[2]; /* inputs n - 1 and n */
    int32_t n_draft; /* of this block: gamma, or less: nothing follows a drafted end of text; prompt lookup:
                        down to 0, the verifier alone */
    int32_t end;     /* weir_seat_end */
    /* of one that chooses */
    weir_gamma_past past;
    float hope, rate; /* of this block: the drafts so far are all accepted; tokens for a unit of cost */
} weir_seat;

/* What one block of one seat decided: all that the host needs to append tokens and keep its books. */
typedef struct weir_block_outcome {
    int32_t seat_end; /* weir_seat_end after the block */
    int32_t live;     /* 0: the seat did not take part; nothing else is valid */
    int32_t position; /* n before the block */
    int32_t status;   /* weir_status: EINVAL = unusable logits; then nothing below is valid */
    int32_t n_draft, n_accept, n_examined; /* of draft and row the first n_draft and n_examined are valid */
    int32_t draft[WEIR_GAMMA_MAX];
    weir_accept_row row[WEIR_GAMMA_MAX];
    int32_t closing; /* 1: a closing token follows the accepted ones */
    int32_t kind;    /* weir_emit_kind of it */
    int32_t token;
    float log_pi, log_p;
    weir_gamma_past past; /* the seat's after the block; valid whatever the status */
} weir_block_outcome;

/* Shared with the host while the loop runs (weir_backend_stream.alloc_mapped). Blocks are numbered from 0
 * within a launch; the outcomes of block b are at ring[(b % depth) * n_seat], readable once done > b. */
typedef struct weir_loop_flags {
    int32_t done;    /* device: blocks finished, written after their outcomes */
    int32_t running; /* device: seats still running after the last of them */
    int32_t stop;    /* host: end the loop after the current block */
    int32_t over;    /* device: the loop will run no further block */
} weir_loop_flags;

/* Drafts by prompt lookup (Saxena, "Prompt Lookup Decoding", 2023; also in llama.cpp and vLLM). The history
 * of a slot is its prompt and its output, one id an entry. The draft after a text is the token that followed
 * the longest suffix of the text seen before in it: of 1 … `longest` tokens (more do not count), the latest
 * of equals; none below `shortest`. So a draft depends on the text alone, like a drafter's: q is 1 at it, pi
 * is defined at each position, and the law of an answer does not depend on gamma. Entry -1 is no token,
 * follows nothing and equals nothing: it parts the prompt of an encoder–decoder from the output. */
typedef struct weir_lookup {
    int32_t *history; /* (slots, ld); NULL: a model drafts */
    int64_t ld;       /* room for weir_seat.before, its limit and gamma + 1 more */
    int32_t *hot;     /* (rows of q_logits) the id whose logit is 0, -1: none; the others are -inf */
    int32_t shortest, longest;
} weir_lookup;

/* Backend memory of one bucket. Strides: seat-major, `gamma` the bucket's. */
typedef struct weir_loop {
    weir_seat *seat;              /* (n_seat) */
    const weir_gamma_costs *cost; /* (1); NULL: no seat chooses */
    int32_t n_seat, gamma;        /* gamma 0 … WEIR_GAMMA_MAX */
    int32_t bonus;                /* 1: blocks have the extra drafter step */
    int32_t n_vocab;
    int64_t ld_q, ld_p;
    float *q_logits;             /* (gamma + 1, n_seat, ld_q) step-major */
    float *q_weights;            /* as q_logits: w of its rows, made with their statistics; CPU, or NULL */
    float *p_logits;             /* (n_seat, gamma + 1, ld_p) */
    weir_row_stats *q_stats;     /* (n_seat, gamma + 1) */
    weir_row_stats *p_stats;     /* (n_seat, gamma + 1) */
    int32_t *draft;              /* (n_seat, gamma) */
    weir_accept_session *accept; /* (n_seat) */
    weir_accept_row *row;        /* (n_seat, gamma) */
    weir_row_note *note;         /* (n_seat, gamma); NULL on the CPU */
    weir_emit_session *emit;     /* (n_seat) */
    weir_block_outcome *ring;    /* (depth, n_seat) as the device sees it */
    int32_t depth;
    weir_loop_flags *flags; /* as the device sees it */
    int32_t *block;         /* (3) block number within the launch; its limit; 1: another block follows */
    uint32_t *arrived;      /* (1) zero between launches: seats that closed the current block; NULL on the
                                CPU */
    int32_t *first;         /* (n_seat) seat i's first verifier row, written by loop_rows, where rows are left
                                out; NULL: no row is, and it is i (gamma + 1) */
    weir_lookup lookup;
} weir_loop;

/* Rows of one forward call. Step j: drafter rows; WEIR_LOOP_VERIFY: verifier rows, and what loop_close needs.
 *   token, pos, slot  (n) with n = 2 n_seat for step 0, n_seat for later steps, n_seat (gamma + 1) for verify
 *   law_of            (outputs): the seat's index or -1 on a dead row; n_seat for drafter steps, n_seat
 *                     (gamma + 1) for verify
 *   law               (n_seat) a copy of the seats' laws, for ops that want an array of them; written by step
 *                     0 and verify
 * Step 0 sets n_draft; step j >= 1 cuts it to j where draft j - 1 ends the text, or a seat that chooses has
 * enough.
 * Where rows are left out: out (outputs), the rows whose logits are wanted, n_row and n_out are set; output k
 * of a drafter step is seat k's. */
typedef struct weir_loop_rows {
    const weir_loop *loop;
    int32_t step;
    int32_t *token, *pos, *slot;
    int32_t *law_of;
    weir_law *law;
    int32_t *out;
    int32_t n_row, n_out;
} weir_loop_rows;

/* Row statistics of the drafter's live rows of step j (q_logits + j n_seat ld_q) into q_stats[seat][j] and,
 * where j < n_draft, a draw into draft[seat][j]: position n + j, purpose DRAFT, block row j under block
 * verification. An unusable row drafts token 0; the accept step reports it. minmax: as in
 * weir_row_stats_args, (n_seat, …) or NULL. */
typedef struct weir_loop_sample {
    const weir_loop *loop;
    int32_t step;
    const weir_minmax *minmax;
} weir_loop_sample;

/* In place of all drafter steps: n_draft and unmatched of every seat, its drafts, their rows of q_logits and
 * q_stats, and the row after the last draft where a bonus may want it. Drafts are appended to the history
 * after the output, for loop_close to write over. Reads the history once, 4 bytes an entry; of a suffix of
 * `longest` tokens only what came after it, and once more for each draft from there on. Writes two floats a
 * row. EINVAL: no lookup, gamma 0. */
typedef struct weir_loop_lookup {
    const weir_loop *loop;
} weir_loop_lookup;

/* Accept, closing token, lengths, ends and outcomes of every live seat; the same tokens as accept and emit in
 * a row. Then: block number + 1, flags.done, flags.over if no seat runs, the limit is reached or the host
 * asked.
 * stats: what row_stats is to do first, for all rows of p_logits, which have no statistics yet; NULL where
 * they have, or where rows are left out.
 * Where rows are left out, bonus runs the drafter's row after the last draft of the seats who[0 … n), and
 * puts output k at weir__seat_q_row(loop, k, gamma); who: scratch (n_seat). Both NULL elsewhere. */
typedef struct weir_loop_close {
    const weir_loop *loop;
    const weir_row_stats_args *stats;
    weir_status (*bonus)(void *ud, const int32_t *who, int32_t n);
    void *ud;
    int32_t *who;
} weir_loop_close;

/* weir_seat.bonus_from of a law; host code. */
int32_t weir__seat_bonus_from(const weir_law *law);

static inline weir_status weir__loop_check(const weir_loop *l) {
    if (!l || !l->seat || !l->flags || !l->block || l->n_seat < 1) return WEIR_EINVAL;
    if (l->gamma < 0 || l->gamma > WEIR_GAMMA_MAX || (l->bonus && l->gamma == 0)) return WEIR_EINVAL;
    if (l->n_vocab < 1 || l->ld_p < l->n_vocab || !l->p_logits || !l->p_stats) return WEIR_EINVAL;
    if (!l->accept || !l->emit || !l->ring || l->depth < 1) return WEIR_EINVAL;
    if (l->gamma == 0) return WEIR_OK;
    if (l->ld_q < l->n_vocab || !l->q_logits || !l->q_stats || !l->draft || !l->row) return WEIR_EINVAL;
    return WEIR_OK;
}

static inline weir_status weir__loop_close_check(const weir_loop_close *a) {
    WEIR_TRY(weir__loop_check(a->loop));
    const weir_loop *l = a->loop;
    const weir_row_stats_args *s = a->stats;
    if (!s) return l->first && (!a->bonus || !a->who) ? WEIR_EINVAL : WEIR_OK;
    WEIR_TRY(weir__row_stats_check(s));
    const bool of_loop = s->logits == l->p_logits && s->ld == l->ld_p && s->n_vocab == l->n_vocab &&
                         s->out == l->p_stats && s->n_row == (int64_t)l->n_seat * (l->gamma + 1);
    return of_loop && !l->first ? WEIR_OK : WEIR_EINVAL;
}

static inline weir_status weir__loop_lookup_check(const weir_loop_lookup *a) {
    WEIR_TRY(weir__loop_check(a->loop));
    const weir_lookup *k = &a->loop->lookup;
    const bool ok = a->loop->gamma > 0 && k->history && k->hot && k->ld > 0 && k->shortest >= 1 &&
                    k->longest >= k->shortest;
    return ok ? WEIR_OK : WEIR_EINVAL;
}

/* Step 0 … gamma - 1, gamma too with the extra step. */
static inline bool weir__loop_has_step(const weir_loop *l, int32_t step) {
    return step >= 0 && step < l->gamma + l->bonus;
}

static inline weir_status weir__loop_rows_check(const weir_loop_rows *a) {
    WEIR_TRY(weir__loop_check(a->loop));
    if (!a->token || !a->pos || !a->slot || !a->law_of || !a->law) return WEIR_EINVAL;
    if (a->loop->first && !a->out) return WEIR_EINVAL;
    return a->step == WEIR_LOOP_VERIFY || weir__loop_has_step(a->loop, a->step) ? WEIR_OK : WEIR_EINVAL;
}

static inline weir_status weir__loop_sample_check(const weir_loop_sample *a) {
    WEIR_TRY(weir__loop_check(a->loop));
    return weir__loop_has_step(a->loop, a->step) ? WEIR_OK : WEIR_EINVAL;
}

#endif /* WEIR_KERNELS_LOOP_LOOP_H */
