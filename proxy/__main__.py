"""Where it begins: `wheelkeep`, which is `python -m proxy`."""

import gc


def main() -> None:
    """Load the commands, and do what the one on the command line says."""
    # What is loaded stays. To look for garbage in it takes a tenth of the time until it serves.
    gc.disable()
    from proxy.cli import main as command  # noqa: PLC0415 - the line above is for this one

    gc.freeze()
    gc.enable()
    command(prog_name="wheelkeep")


if __name__ == "__main__":
    main()
