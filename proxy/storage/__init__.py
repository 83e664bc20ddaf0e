"""Where bytes rest. Every back end passes the contract suite of its interface (tests/contracts)."""
