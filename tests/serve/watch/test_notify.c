/* What a supervisor is sent, over a socket with a name in the file system or none there. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/serve/watch/notify.h"
#include "tests/support/files.h"

/* Bound where NOTIFY_SOCKET points after it. */
static int listen_at(const char *name) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const size_t n = strlen(name);
    cr_assert(n < sizeof at.sun_path);
    memcpy(at.sun_path, name, n);
    if (*name == '@') at.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&at, size) == 0, "%s", strerror(errno));
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void expect_message(int fd, const char *want) {
    char got[64] = "";
    const ssize_t n = recv(fd, got, sizeof got - 1, 0);
    cr_expect(n == (ssize_t)strlen(want), "%zd bytes", n);
    cr_expect_str_eq(got, want);
}

static void exchange(const char *name) {
    const int fd = listen_at(name);
    const int before = dup(fd); /* the lowest number that is free */
    close(before);
    cr_expect(watch_notify("READY=1", NULL) == WEIR_OK);
    expect_message(fd, "READY=1");
    cr_expect(watch_notify("STOPPING=1", NULL) == WEIR_OK);
    expect_message(fd, "STOPPING=1");
    const int after = dup(fd);
    cr_expect(after == before, "a socket was left open");
    close(after);
    close(fd);
}

Test(watch_notify, file) {
    char *dir = files_temp_dir(), *path = files_path(dir, "notify");
    exchange(path);
    weir_err err;
    cr_expect(watch_notify("READY=1", &err) == WEIR_EIO); /* its reader is gone */
    cr_expect(err_is_line(&err, "NOTIFY_SOCKET"));
    unlink(path);
    free(path);
    files_remove_dir(dir);
}

Test(watch_notify, abstract) {
    char name[64];
    snprintf(name, sizeof name, "@weir-test-%ld", (long)getpid());
    exchange(name);
}

Test(watch_notify, nobody_asks) {
    unsetenv("NOTIFY_SOCKET");
    cr_expect(watch_notify("READY=1", NULL) == WEIR_OK);
    setenv("NOTIFY_SOCKET", "", 1);
    cr_expect(watch_notify("READY=1", NULL) == WEIR_OK);
}

Test(watch_notify, names) {
    char longest[200];
    memset(longest, 'x', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    const char *const bad[] = {"relative", "@", "/", "vsock:2:1", longest};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_err err;
        setenv("NOTIFY_SOCKET", bad[i], 1);
        cr_expect(watch_notify("READY=1", &err) == WEIR_EINVAL, "%s", bad[i]);
        cr_expect(err_is_line(&err, "expected a path"));
    }
}

/* A reader that takes nothing must not hold the server up. */
Test(watch_notify, full) {
    char name[64];
    snprintf(name, sizeof name, "@weir-test-full-%ld", (long)getpid());
    const int fd = listen_at(name);
    weir_status s = WEIR_OK;
    for (int i = 0; s == WEIR_OK; i++) {
        cr_assert(i < 100000);
        s = watch_notify("READY=1", NULL);
    }
    cr_expect(s == WEIR_EIO);
    close(fd);
}
