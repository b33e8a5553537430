"""The archive (design §1): from the topics of the worker into the store, each record once to a reader."""
