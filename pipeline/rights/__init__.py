"""Rights of the account holder (policy §8), as steps over a store."""
