"""Errors whose message is written for the person at the keyboard, and how the errors of other
packages are quoted in them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager


class HeadstartError(Exception):
    """Something the user can mend. The message says what was found, what was expected, and what to
    do next.

    The command line prints it without a traceback and ends with exit code 2.
    """

    def __init__(self, message: str) -> None:
        # an error of a loader process arrives as the text of a traceback that ends with it
        super().__init__(re.split(rf"{__name__}\.\w+: ", message)[-1].rstrip())


class RecipeError(HeadstartError):
    """A recipe, or a value for it on the command line, is wrong or names something unknown."""


class DataError(HeadstartError):
    """Examples cannot be read, are damaged, or do not fit the recipe."""


class BackboneError(HeadstartError):
    """A pretrained network cannot be found, is damaged, or does not fit the recipe."""


class RunError(HeadstartError):
    """A run cannot go on, or the folder of a finished run is missing, damaged or in use."""


class RenamedKeyWarning(FutureWarning):
    """A recipe uses the old name of a key."""


@contextmanager
def needs_extra(extra: str, feature: str) -> Iterator[None]:
    """Around the import of packages that come with an extra of headstart.

    Args:
        extra: its name. feature: what needs it, at the start of the message.

    Raises:
        HeadstartError: a package is not installed; the message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise HeadstartError(
            f'{feature}: {package} is not installed; pip install "headstart[{extra}]"'
        ) from None


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of another package's error, cut to `most` characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]
