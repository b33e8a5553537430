"""Apache Kafka (KRaft) on this machine, for development and tests. Needs Java and, the first time, Maven."""
