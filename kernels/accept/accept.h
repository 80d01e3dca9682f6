#ifndef WEIR_KERNELS_ACCEPT_ACCEPT_H
#define WEIR_KERNELS_ACCEPT_ACCEPT_H

#include "kernels/accept/stats.h"

/* All arrays here, including those of sessions and what their pointers point to, are in backend memory.
 *
 * The accept step of one block for n_session sessions, from logits. A rule gives num(v) and res(v) from pair
 * statistics of the rows; drafted x is accepted iff u q(x) <= num(x), u in (0, 1] from purpose ACCEPT; the
 * first rejection ends the block and its token is drawn from norm(res).  Emitted law: pi(v) = min(q, num)(v)
 * + R norm(res)(v), R = sum_v (q - num)+. A token that is not deferred uses no coin. If the residual mass at
 * a rejection is zero, the accept probability was 1 up to rounding: the token is accepted. R and that mass
 * take a pass over both rows. Where neither the rule nor the law asks for R, no row is measured before the
 * coin has refused its token: then the accept op measures the residual's mass of that row, and the loop's
 * race finds out by itself. */

typedef enum weir_source {
    WEIR_SOURCE_KEPT = 0,  /* drafted, not deferred */
    WEIR_SOURCE_ACCEPTED,  /* drafted, deferred, and accepted by the coin */
    WEIR_SOURCE_RESAMPLED, /* drawn from the residual */
    WEIR_SOURCE_BONUS,     /* after a fully accepted block */
    WEIR_SOURCE_DRAFTER,   /* sequential methods */
    WEIR_SOURCE_VERIFIER,  /* those, the verifier alone, and a block without a draft */
} weir_source;

/* What is known about one row of the block. Rows after the first rejection are not examined (standard
 * verification); examined counts them in order from 0. */
typedef struct weir_accept_row {
    float reject;  /* R of the row; NaN where it was not measured (weir_law.measure_reject) */
    float log_pi;  /* log pi(drafted token); NaN where pi does not exist */
    float log_p;   /* verifier's raw log p(drafted token) */
    bool deferred; /* GATE: r of the row; TOKEN: r(x); OWN: num(x) < q(x) */
    bool accepted;
} weir_accept_row;

/* Results of the passes over the vocabulary for one row: the accept op stores those of the rejected row here,
 * so that the draw that closes the block need not repeat them. Opaque to callers; `known` is false until
 * set. */
typedef struct weir_verdict {
    bool known, gate;
    float reject, mass, eta, beta; /* reject, mass: NaN where they were not measured */
    float coef[2][4];              /* num and res as linear in q and p, by keep (kernels/accept/sweep/qp.h) */
    float mix;
} weir_verdict;

/* What a device passes from the kernel that examines all rows at once to the one that decides. Opaque. */
typedef struct weir_row_note {
    weir_verdict verdict;
    float q, num, pi;
    bool has_pi;
    weir_status status;
} weir_row_note;

/* A session's block. Row j of q and p is the distribution of the token with output index position + j. */
typedef struct weir_accept_session {
    const weir_law *law;
    const float *q_logits, *p_logits; /* (n_draft, ld_q), (n_draft + 1, ld_p) */
    const weir_row_stats *q_stats;    /* (n_draft) */
    const float *q_weights;           /* CPU: (n_draft, ld_q) made with q_stats, or NULL: computed again */
    weir_row_stats *p_stats;          /* (n_draft + 1); written only under make_stats */
    const int32_t *draft;             /* (n_draft) drafted tokens, drawn from q with these stats */
    int32_t n_draft;                  /* 0 … WEIR_GAMMA_MAX */
    int32_t position;
    /* out */
    weir_accept_row *row; /* (n_draft) */
    int32_t n_examined, n_accept;
    weir_verdict verdict; /* of row n_accept, if it was rejected under standard verification */
    float block_p;        /* block verification: P of the row n_accept (1 otherwise): the residual uses P pi -
                             q */
    weir_row_note *note;  /* (n_draft) workspace; the CPU needs none */
    weir_status status;   /* EINVAL: a row with NaN logits; nothing else of out is valid then */
} weir_accept_session;

typedef struct weir_accept_args {
    weir_accept_session *session; /* (n_session) */
    int32_t n_session;
    int64_t ld_q, ld_p;
    int32_t n_vocab;
    bool make_stats; /* CPU: p_stats hold nothing yet. The op makes those of the rows that it examines, and of
                        the row n_accept, which closes the block; a block without drafts has that row alone.
                        Rows after a refused one are skipped, except those that other threads
                        have begun */
} weir_accept_args;

/* EINVAL: a negative n_session, a vocabulary below 1 or above WEIR_VOCAB_MAX, strides below it, NULL. A
 * session's own errors are in its status. */
static inline weir_status weir__accept_check(const weir_accept_args *a) {
    const bool ok = a->n_session >= 0 && a->n_vocab > 0 && a->n_vocab <= WEIR_VOCAB_MAX &&
                    a->ld_q >= a->n_vocab && a->ld_p >= a->n_vocab && (a->session || a->n_session == 0);
    return ok ? WEIR_OK : WEIR_EINVAL;
}

/* The token that closes a block, one per session: the residual at row n_accept, or the bonus. */
typedef enum weir_emit_kind {
    WEIR_EMIT_RESIDUAL, /* from norm(res) at a rejected row; block verification: norm((P pi - q)+) */
    WEIR_EMIT_PI,       /* from pi: bonus after a fully accepted block (GATE: q or p; TOKEN and OWN: their
                           pi) */
    WEIR_EMIT_P,        /* from p: bonus of the verifier, verifier alone */
} weir_emit_kind;

typedef struct weir_emit_session {
    const weir_law *law;
    weir_emit_kind kind;
    const float *q_logits, *p_logits; /* one row each; q may be NULL under WEIR_EMIT_P */
    const weir_row_stats *q_stats, *p_stats;
    int32_t draft; /* RESIDUAL: the rejected token (cactus needs it) */
    float block_p; /* RESIDUAL under block verification: from weir_accept_session; 1 otherwise */
    const weir_verdict *verdict; /* RESIDUAL: the accept op's for this row; NULL: computed again */
    int32_t position;            /* output index of the token that is drawn */
    int32_t block_row;           /* row in the block (used under block verification only) */
    /* out */
    int32_t token;
    float log_pi;  /* log of the emitted law at token: pi (RESIDUAL, PI) or p (P); NaN where pi does not
                          exist */
    float log_p;   /* verifier's raw log p(token) */
    float reject;  /* R of the row (PI, RESIDUAL), NaN where it was not measured; 0 (P) */
    bool deferred; /* GATE: r of the row; else true */
    weir_status status;
} weir_emit_session;

typedef struct weir_emit_args {
    weir_emit_session *session;
    int32_t n_session;
    int32_t n_vocab;
} weir_emit_args;

static inline weir_status weir__emit_check(const weir_emit_args *a) {
    const bool ok = a->n_session >= 0 && a->n_vocab > 0 && a->n_vocab <= WEIR_VOCAB_MAX &&
                    (a->session || a->n_session == 0);
    return ok ? WEIR_OK : WEIR_EINVAL;
}

/* r of one row per session for GATE rules, for methods that decide token by token. p may be NULL for q_only
 * rules. status: EINVAL for rules that are not gates and for NaN rows. */
typedef struct weir_gate_session {
    const weir_law *law;
    const float *q_logits, *p_logits;
    const weir_row_stats *q_stats, *p_stats;
    int32_t position;
    bool deferred; /* out */
    weir_status status;
} weir_gate_session;

typedef struct weir_gate_args {
    weir_gate_session *session; /* (n_session) */
    int32_t n_session;
    int32_t n_vocab;
} weir_gate_args;

static inline weir_status weir__gate_check(const weir_gate_args *a) {
    const bool ok = a->n_session >= 0 && a->n_vocab > 0 && a->n_vocab <= WEIR_VOCAB_MAX &&
                    (a->session || a->n_session == 0);
    return ok ? WEIR_OK : WEIR_EINVAL;
}

/* Everything that a rule gives at one position, for study and checking, by the same code as the accept op.
 * Arrays (n_vocab) f32, each may be NULL; entries are NaN where the rule does not define them. */
typedef struct weir_rule_row {
    const weir_law *law;
    const float *q_logits, *p_logits;
    int32_t n_vocab;
    /* out */
    float *pi, *keep, *accept, *residual; /* accept: min(1, num/q), NaN where q = 0; residual: normalised */
    float reject, eta;                    /* eta NaN where undefined */
    int deferred;                         /* 0, 1, or -1 if the rule does not decide by row */
    bool has_keep, has_pi, has_residual;
    float beta; /* the beta used (lossy), NaN otherwise */
} weir_rule_row;

/* EINVAL: NaN or unusable logits, law out of range, n_vocab < 1; ENOMEM. */
weir_status weir__rule_evaluate_row(weir_rule_row *e, weir_err *err);

#endif /* WEIR_KERNELS_ACCEPT_ACCEPT_H */
