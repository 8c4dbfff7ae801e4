"""Checks the annotations of sparring while the tests run; as PEP 484 has it, an int serves as a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
