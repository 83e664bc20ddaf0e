"""Where it begins: `wheelkeep`, which is `python -m proxy`."""

from proxy.cli import main as command


def main() -> None:
    """Do what the command line says."""
    command(prog_name="wheelkeep")


if __name__ == "__main__":
    main()
