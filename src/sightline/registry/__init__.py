"""Who is champion: the ledger, its MLflow mirror, the frozen golden set."""
