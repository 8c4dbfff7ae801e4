"""Many trainings, compared: `sparring study FILE.toml`.

plan.py        what to play, from a file
trial.py       one training and its card, in a process of its own
engines.py     where trials are played: on this machine, or on a Ray cluster
study.py       which trial comes next, stored by Optuna
comparison.py  what differences between settings are worth
report.py      tables and a plot of it all
"""
