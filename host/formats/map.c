#include "host/formats/map.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/formats/json/json_file.h"

weir_status weir__map_file(const char *path, const uint8_t **bytes, size_t *n, weir_err *err) {
    int fd;
    size_t size;
    WEIR_TRY(weir__file_open(path, &fd, &size, err));
    if (size == 0) {
        close(fd);
        return weir_fail(err, WEIR_EFORMAT, "%s: empty file", weir__label(path));
    }
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int e = errno;
    close(fd); /* the map keeps the file */
    if (map == MAP_FAILED)
        return weir_fail(err, WEIR_EIO, "%s: cannot map %zu bytes: %s", weir__label(path), size, strerror(e));
    *bytes = map;
    *n = size;
    return WEIR_OK;
}

void weir__map_free(const uint8_t *bytes, size_t n) { munmap((void *)(uintptr_t)bytes, n); }

void weir__map_release(const void *data, size_t n) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + n) / page * page;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}
