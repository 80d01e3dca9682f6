#include "host/cli/chat_turns.h"

#include <string.h>

const char *chat_words(const weir_err *err, weir_status s) {
    return err->text[0] ? err->text : weir_status_str(s);
}

void chat_forget(chat *c) {
    for (size_t i = 0; i < c->n_turn; i++) wire_buf_free(&c->turns[i]);
    c->n_turn = 0;
}

void chat_drop_turn(chat *c) { wire_buf_free(&c->turns[--c->n_turn]); }

bool chat_add_turn(chat *c, const char *text, size_t n) {
    if (c->n_turn == c->turn_cap) {
        const size_t cap = c->turn_cap ? 2 * c->turn_cap : 16;
        wire_buf *turns = weir_calloc(cap, sizeof *turns);
        if (!turns) return false;
        if (c->n_turn) memcpy(turns, c->turns, c->n_turn * sizeof *turns);
        weir_free(c->turns);
        c->turns = turns;
        c->turn_cap = cap;
    }
    c->turns[c->n_turn] = (wire_buf){0};
    if (!wire_buf_add(&c->turns[c->n_turn], text, n)) return false;
    c->n_turn++;
    return true;
}

weir_chat_message *chat_messages(const chat *c, size_t *n) {
    weir_chat_message *m = cli_alloc(c->n_turn + 1, sizeof *m);
    if (!m) return NULL;
    *n = 0;
    if (c->system)
        m[(*n)++] = (weir_chat_message){.role = "system", .content = c->system, .bytes = strlen(c->system)};
    for (size_t i = 0; i < c->n_turn; i++) {
        const wire_buf *turn = &c->turns[i];
        m[(*n)++] = (weir_chat_message){
            .role = i % 2 ? "assistant" : "user", .content = turn->data, .bytes = turn->len};
    }
    return m;
}

int chat_set_system(chat *c, const char *text) {
    char *copy = NULL;
    if (text && *text) {
        /* Said now rather than at the next message. */
        const weir_chat_message m[] = {{.role = "system", .content = text, .bytes = strlen(text)},
                                       {.role = "user", .content = "", .bytes = 0}};
        int32_t *ids = NULL;
        size_t n = 0;
        weir_err err = {{0}};
        const weir_status s = weir_chat_tokenize(c->engine, m, 2, false, &ids, &n, &err);
        if (s != WEIR_OK) return cli_fail(CLI_FAILED, "%s", chat_words(&err, s));
        weir_ids_free(ids);
        copy = weir_strdup(text);
        if (!copy) return cli_fail(CLI_FAILED, "out of memory for a system message");
    }
    weir_free(c->system);
    c->system = copy;
    return CLI_OK;
}
