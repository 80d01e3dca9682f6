#ifndef WEIR_HOST_CHAT_OPEN_H
#define WEIR_HOST_CHAT_OPEN_H

#include "host/state.h"

/* The chat format of the options or of the checkpoint, and the ends of its turns among the
 * ends of text. */
weir_status weir__chat_open(weir_engine *e, const weir_engine_options *o, weir_err *err);
void weir__chat_close(weir_engine *e);
/* The token of that name, -1 if the vocabulary has none. */
int32_t weir__chat_token(const weir_engine *e, const char *name, size_t bytes);

#endif /* WEIR_HOST_CHAT_OPEN_H */
