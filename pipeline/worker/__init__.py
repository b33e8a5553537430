"""The stream worker: a Faust app whose agent takes whole batches, and an own account of what is delivered."""
