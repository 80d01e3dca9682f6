"""One seeded bug."""


def bug(file, kind, what, old, new, **more):
    """In the CUDA kernels. file: below kernels/. kind: see README.md. more: nth (from 0), if `old` occurs
    more than once; equivalent or invisible, with the reason why no test on a CPU can see it."""
    return {"file": f"kernels/{file}", "kind": kind, "what": what, "old": old, "new": new, **more}


def cpu_bug(file, kind, what, tests, old, new, **more):
    """In the code for CPUs. file: from the root. tests: names that look for it first, the cheapest first.
    more: as above, and builds."""
    return {"file": file, "kind": kind, "what": what, "tests": tests.split(), "old": old, "new": new,
            "builds": ["plain", "asan"], **more}
