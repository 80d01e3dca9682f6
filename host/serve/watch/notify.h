#ifndef WEIR_HOST_SERVE_WATCH_NOTIFY_H
#define WEIR_HOST_SERVE_WATCH_NOTIFY_H

#include "host/weir.h"

/* Tells a supervisor such as systemd what the server does: one datagram, "READY=1" or "STOPPING=1", to the
 * socket that NOTIFY_SOCKET names, a path or "@" and an abstract name. Without that variable nothing is sent:
 * OK. EINVAL: not such a name; EIO: nobody took it. Never waits. */
weir_status watch_notify(const char *state, weir_err *err);

#endif /* WEIR_HOST_SERVE_WATCH_NOTIFY_H */
