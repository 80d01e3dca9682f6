#ifndef WEIR_HOST_DECK_DRAFT_TEXT_DRAFT_H
#define WEIR_HOST_DECK_DRAFT_TEXT_DRAFT_H

#include "host/deck/block_program.h"

/* Drafts of a drafter with a vocabulary of its own (WEIR_DRAFT_TEXT). It reads the prompt, once, and the
 * output in its own ids, writes its likeliest tokens, and their text becomes the verifier's ids: drafts that
 * are certain, as prompt lookup's are. What it drafts is a function of the session's tokens and settings. The
 * host makes them between calls of the drafter, so a device's blocks with drafts are called one by one, never
 * recorded. Of several ranks that is rank 0's host: the others repeat the calls, and see no text.
 *
 * After each block the output is encoded anew from where the window begins; ids that changed are rolled back.
 * A window that has grown long begins nearer to the end where both parts, encoded apart, give the ids of both
 * together. */

/* Steps of a block of gamma drafts, at most: a vocabulary may take two tokens for one of the verifier's, and
 * a character may take four. */
static inline int64_t weir__text_steps(int64_t gamma) { return 2 * gamma + 3; }

/* The prompt in the drafter's ids. A session that never drafts, or whose drafter has the verifier's
 * vocabulary, has nothing of this. ENOMEM. */
weir_status weir__text_draft_open(weir_session *s, weir_err *err);
void weir__text_draft_close(weir_session *s);
void weir__text_draft_restart(weir_session *s); /* the output is forgotten */

/* After tokens were appended: the drafter's ids, and of its cache what they leave true. */
weir_status weir__text_draft_sync(weir_session *s);
/* Inputs of its timeline that the next block may run, and the most that any will. */
int64_t weir__text_draft_ahead(const weir_session *s);
int64_t weir__text_draft_most(const weir_session *s);
/* Gives back what the last block did not use. A ring that has overwritten what comes before is read again. */
weir_status weir__text_draft_roll_back(weir_session *s);

/* In place of a block's drafter steps: drafts, their one-hot rows of q, n_draft and unmatched of all
 * seats. */
weir_status weir__text_draft_run(const weir_bucket *b);
weir_status weir__text_draft_step(const weir_bucket *b); /* for timings: one step of one seat */

#endif /* WEIR_HOST_DECK_DRAFT_TEXT_DRAFT_H */
