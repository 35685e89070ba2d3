"""The one exception whose message is written for the person at the keyboard."""


class HeadstartError(Exception):
    """Something the user can mend. The message says what was found, what was expected, and what to do next.

    The command line prints it without a traceback and ends with exit code 2.
    """
