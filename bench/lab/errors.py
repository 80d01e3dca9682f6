"""The one exception that a user sees."""


class LabError(Exception):
    """One line: where, what, what was expected. Printed without a traceback."""
