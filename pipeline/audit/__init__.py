"""The audit log: append-only, hash-chained, an entry before and after each privileged action (policy §7)."""
