#include "host/serve/watch/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

weir_status watch_notify(const char *state, weir_err *err) {
    const char *name = getenv("NOTIFY_SOCKET");
    if (!name || !*name) return WEIR_OK;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const size_t n = strlen(name);
    if ((*name != '/' && *name != '@') || n < 2 || n >= sizeof to.sun_path)
        return weir_fail(err, WEIR_EINVAL, "NOTIFY_SOCKET=%s: expected a path or @name of up to %zu bytes",
                         name, sizeof to.sun_path - 1);
    memcpy(to.sun_path, name, n);
    if (*name == '@') to.sun_path[0] = '\0';
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return weir_fail(err, WEIR_EIO, "NOTIFY_SOCKET=%s: %s", name, strerror(errno));
    const ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&to, size);
    const int why = errno;
    close(fd);
    if (sent < 0) return weir_fail(err, WEIR_EIO, "NOTIFY_SOCKET=%s: %s", name, strerror(why));
    return WEIR_OK;
}
