"""Who gets which unit, and when: the ready queue, the policy, and the waiting calls."""
