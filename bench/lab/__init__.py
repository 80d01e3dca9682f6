"""The cost-quality lab: quality and cost of a pair of models under deferral rules, from prompts to tables and
plots.

Every answer comes from the program `weir`; the lab has no second copy of a rule or of decoding.
"""
