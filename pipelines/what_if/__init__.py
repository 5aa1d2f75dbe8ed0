"""What a finished run would have kept under other thresholds, answered from its ledger."""
