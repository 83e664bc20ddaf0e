"""`python -m proxy` is `wheelkeep`."""

from proxy.cli import main

if __name__ == "__main__":
    main(prog_name="wheelkeep")
