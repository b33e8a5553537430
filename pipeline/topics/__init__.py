"""The sinks as Kafka topics: settings derived from the retention bound, planned, applied and verified (design §4)."""
