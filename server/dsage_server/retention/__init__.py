"""What is kept beyond the day: backups that can be put back, and archives of runs that are long over."""
