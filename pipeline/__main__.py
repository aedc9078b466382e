"""`python -m pipeline COMMAND`, the same as `headwater COMMAND`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 0, or that of the error (see `pipeline.errors`)."""

    from pipeline.errors import HeadwaterError
    from pipeline.options import parse_arguments
    from pipeline.run import complain, run_command

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = parse_arguments(arguments)
        run_command(parsed, tuple(arguments))
    except HeadwaterError as error:
        return complain(error)
    except KeyboardInterrupt:
        print("headwater: interrupted; nothing was published", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
