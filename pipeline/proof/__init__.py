"""The proof over live sinks (``lethe audit``): samples judged apart from what made them, one report by clause."""
