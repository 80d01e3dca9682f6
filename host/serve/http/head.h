#ifndef WEIR_HOST_SERVE_HTTP_HEAD_H
#define WEIR_HOST_SERVE_HTTP_HEAD_H

#include "host/serve/http/gate.h"

/* The lines of a head. Each function returns false with g->error filled. */

bool http_head_request(http_gate *g, char *line, size_t n);
bool http_head_field(http_gate *g, char *line, size_t n, bool trailer); /* trailers are checked and dropped */
bool http_head_check(http_gate *g);     /* the whole head: how long is the body? */
bool http_head_too_large(http_gate *g); /* 413 */

bool http_is_token(const char *s, size_t n); /* RFC 9110, 5.6.2 */
/* Whether a list (separated by commas) has this word; NULL has none. */
bool http_has_word(const char *list, const char *word);

#endif /* WEIR_HOST_SERVE_HTTP_HEAD_H */
