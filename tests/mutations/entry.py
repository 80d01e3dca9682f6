"""One seeded bug."""


def bug(file, kind, what, old, new, **more):
    """file: below kernels/. kind: see README.md. more: nth (from 0), where `old` occurs more than once; equivalent or invisible, with
    the reason why no test on a CPU can see it."""
    return {"file": f"kernels/{file}", "kind": kind, "what": what, "old": old, "new": new, **more}
