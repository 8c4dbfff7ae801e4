"""Several processes, one training.

Each process plays the same step on its own rows of the same global batch (`Stream.for_rank`), and the gradients
are averaged by one operation for each player, before anything looks at them. So every process makes the same update,
and nothing wraps the networks: penalties differentiate twice and players are frozen just as in one process. Batch
normalisation uses the statistics of the global batch. In a single process each of these functions is the identity.
"""
