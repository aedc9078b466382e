"""`python -m pipeline COMMAND`, the same as `headwater COMMAND`."""

import gc
import logging
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 0, or that of the error (see `pipeline.errors`)."""

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Set before Beam is imported, which warns of extras that nobody asked for; what stops a run is said by its own error.
    logging.getLogger().setLevel(logging.INFO if "--debug" in arguments else logging.CRITICAL)

    # Nothing of what is imported until the run starts is garbage, and to look through it for some takes a tenth of the start: `start_pool` goes on.
    gc.disable()

    if not any("://" in argument for argument in arguments):
        from pipeline.lean_imports import leave_pandas_out

        leave_pandas_out()

    from pipeline.errors import HeadwaterError
    from pipeline.options import parse_arguments
    from pipeline.run import complain, run_command

    try:
        parsed = parse_arguments(arguments)
        if parsed.command in ("ledger", "diff", "explore") or (parsed.command == "plan" and parsed.sweep):
            # These start no pool that would switch it on again, and may run long.
            gc.enable()
        if parsed.command == "ledger":
            from pipeline.ledger_commands import run_ledger_command

            run_ledger_command(parsed)
            return 0
        if parsed.command == "diff":
            from pipeline.diff import run_diff

            run_diff(parsed)
            return 0
        if parsed.command == "explore":
            from pipeline.explore import run_explore

            run_explore(parsed)
            return 0
        if parsed.command == "plan" and parsed.sweep:
            from pipeline.run_sweep import run_sweep

            run_sweep(parsed, tuple(arguments))
            return 0
        run_command(parsed, tuple(arguments))
    except HeadwaterError as error:
        return complain(error)
    except KeyboardInterrupt:
        print("headwater: interrupted; nothing was published", file=sys.stderr)
        return 130
    except Exception as error:
        from pipeline.run import fault_outside

        fault = fault_outside(error)
        if fault is None or "--debug" in arguments:
            raise
        return complain(fault)
    finally:
        gc.enable()
    return 0


if __name__ == "__main__":
    sys.exit(main())
