#ifndef WEIR_TESTS_RUNNER_CASES_CUH
#define WEIR_TESTS_RUNNER_CASES_CUH

#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/runner/cases.h"
#include "tests/runner/control.h"

/* n elements of device memory for a test. */
template <class T> struct device_array {
    T *p = nullptr;
    size_t n;
    explicit device_array(size_t n_) : n(n_) {
        if (cudaMalloc(&p, n * sizeof(T)) != cudaSuccess) p = nullptr;
    }
    ~device_array() { cudaFree(p); }
    device_array(const device_array &) = delete;
    device_array &operator=(const device_array &) = delete;
    void put(const T *from) { cudaMemcpy(p, from, n * sizeof(T), cudaMemcpyHostToDevice); }
    void get(T *to) {
        cudaDeviceSynchronize(); /* streams that do not wait for stream 0, nor it for them */
        cudaMemcpy(to, p, n * sizeof(T), cudaMemcpyDeviceToHost);
    }
};

/* Counts the elements of a device array that are not want(i). */
template <class T, class F> long differing(device_array<T> &a, F want) {
    T *host = new T[a.n];
    a.get(host);
    long wrong = 0;
    for (size_t i = 0; i < a.n; i++) {
        if (!(host[i] == static_cast<T>(want(i)))) {
            if (wrong++ == 0)
                fprintf(stderr, "element %zu: got %g, want %g\n", i, (double)host[i], (double)want(i));
        }
    }
    delete[] host;
    return wrong;
}

#endif /* WEIR_TESTS_RUNNER_CASES_CUH */
