"""What public functions share before any work is done: arguments, metrics, progress."""
