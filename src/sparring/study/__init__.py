"""Many trainings, compared: `sparring study FILE.toml`.

plan.py        what to train, read from a file
trial.py       one training and its card, in a process of its own
engines.py     where trials run: on this machine, or on a Ray cluster
database.py    the database of trials, by Optuna
study.py       which trial comes next, what became of the others, and how long it takes
comparison.py  how sure a difference between settings is
report.py      tables and plots of the results
"""
