#ifndef WEIR_HOST_DRAFT_H
#define WEIR_HOST_DRAFT_H

#include <stdbool.h>

/* What drafts the tokens of blocks; part of weir.h. */

#ifdef __cplusplus
extern "C" {
#endif

/* In place of a drafter: prompt lookup (kernels/loop/loop.h). A directory of that name is "./ngram". */
#define WEIR_NGRAM "ngram"
enum { WEIR_LOOKUP_MIN = 2, WEIR_LOOKUP_MAX = 8, WEIR_LOOKUP_MOST = 64 };

typedef enum weir_draft_kind {
    WEIR_DRAFT_NONE,   /* nothing does: the verifier alone */
    WEIR_DRAFT_MODEL,  /* a drafter with the verifier's vocabulary */
    WEIR_DRAFT_LOOKUP, /* WEIR_NGRAM */
    WEIR_DRAFT_TEXT,   /* a drafter with a vocabulary of its own, whose text is re-tokenised */
    WEIR_DRAFT_KINDS
} weir_draft_kind;

/* What follows from a kind. One row a kind, asked by engine and front ends alike. */
typedef struct weir_draft_info {
    const char *name;  /* "none", "model", "ngram", "text" */
    const char *about; /* "prompt lookup (ngram)" */
    bool loads;        /* a drafter is loaded */
    bool blocks;       /* blocks can be run */
    bool has_q;   /* a draft is drawn from a distribution over the verifier's tokens: all methods and rules
                          have a meaning, and it can be recorded */
    bool one_hot; /* a draft is certain, q = 1 at it: rules of weir_rule_info.one_hot, and no method that
                          runs a drafter by itself */
    bool greedy;  /* at temperature 0 only */
} weir_draft_info;

const weir_draft_info *weir_draft_facts(weir_draft_kind kind);
/* Of weir_engine_options.model_draft, before anything is opened: of a drafter MODEL. */
weir_draft_kind weir_draft_named(const char *model_draft);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_DRAFT_H */
