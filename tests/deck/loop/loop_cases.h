#ifndef WEIR_TESTS_DECK_LOOP_LOOP_CASES_H
#define WEIR_TESTS_DECK_LOOP_LOOP_CASES_H

#include "tests/host/pairs/pair_fixture.h"

/* What the block loop of a backend must do, whatever the backend: each case runs host-driven blocks and the
 * loop on engines of one kind and wants the same from both. */

typedef enum loop_mode {
    LOOP_HOST,     /* no loop: the host drives every block */
    LOOP_CALLED,   /* the loop's ops called block by block */
    LOOP_RECORDED, /* captured and replayed */
} loop_mode;

typedef struct loop_bed {
    weir_engine *(*open)(int n_parallel, loop_mode mode);
    weir_session *(*start)(weir_engine *e, const weir_session_options *o, int prompt, weir_token_fn on_token,
                           void *ud);
    loop_mode modes[2]; /* besides LOOP_HOST */
    int n_mode;
    int n_setting; /* of loop_setting */
    int max_tokens;
    float warmth; /* temperatures are multiplied by it: models of random weights are too sure of
                           themselves */
    int steps[3]; /* max_blocks of a step, tried one after another; 0 = no more */
} loop_bed;

/* For `start`: demo_prompts[prompt]; ids made up from the prompt's number, for pairs without a tokenizer. */
weir_session *loop_start_demo(weir_engine *e, const weir_session_options *o, int prompt,
                              weir_token_fn on_token, void *ud);
weir_session *loop_start_ids(weir_engine *e, const weir_session_options *o, int prompt,
                             weir_token_fn on_token, void *ud);

enum { LOOP_SETTINGS = 17 };
weir_session_options loop_setting(const loop_bed *bed, int i);

void loop_same_alone(const loop_bed *bed);
/* All settings in each of n ways, so many sessions at once in steps of so many blocks. */
typedef struct loop_crowd {
    int n_parallel, max_blocks;
} loop_crowd;
void loop_same_together(const loop_bed *bed, const loop_crowd *how, int n);
void loop_same_at_every_limit(const loop_bed *bed, int setting, int longest);
void loop_same_at_end_of_text(const loop_bed *bed, int n_prompt);
void loop_same_stop_strings(const loop_bed *bed, int n_stop);
void loop_same_when_callback_ends(const loop_bed *bed, int n_end);
void loop_same_when_cancelled_in_callback(const loop_bed *bed, int n_end);
void loop_takes_turns_with_the_host(const loop_bed *bed);

#endif
