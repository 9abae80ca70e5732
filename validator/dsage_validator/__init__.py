"""Agreement, quorum and credit: pure decisions, and one small service that applies an app's own checks."""
