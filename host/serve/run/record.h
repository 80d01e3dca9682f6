#ifndef WEIR_HOST_SERVE_RUN_RECORD_H
#define WEIR_HOST_SERVE_RUN_RECORD_H

#include "host/serve/run/request.h"

/* What happened, for metrics and the request log. All on the loop thread. */

weir_status serve_records_open_log(serve *s, weir_err *err);
weir_status serve_records_open_metrics(serve *s, weir_err *err); /* once the engine is open */
void serve_records_close(serve *s);

void serve_record_tokens(serve_choice *c, size_t n);
void serve_record_choice(serve_choice *c);
void serve_record_refusal(serve *s, const serve_error *e);
/* An exchange is over; e NULL: it was no completions or chat request. */
void serve_record_exchange(serve *s, const serve_exchange *e, const http_exchange *x, int status,
                           double seconds);

#endif /* WEIR_HOST_SERVE_RUN_RECORD_H */
