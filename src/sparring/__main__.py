"""`python -m sparring` is the command `sparring`."""

from sparring.cli.main import main

main()
