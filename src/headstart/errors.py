"""The one exception whose message is written for the person at the keyboard, and how others are
quoted in it."""


class HeadstartError(Exception):
    """Something the user can mend. The message says what was found, what was expected, and what to
    do next.

    The command line prints it without a traceback and ends with exit code 2.
    """

    def __init__(self, message: str) -> None:
        # what a loader's process raises comes to the main one as the text of a traceback, of which
        # this is the last line
        super().__init__(message.rpartition(f"{__name__}.HeadstartError: ")[2].rstrip())


def first_line(error: BaseException, most: int = 200) -> str:
    """What somebody else's error says, cut to one line, for use inside a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]
