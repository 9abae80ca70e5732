"""Being a good guest: when this computer may compute, how much of it, and why not. Decisions only; no I/O."""
