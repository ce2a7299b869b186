"""The command line and what it is made of; nothing else in the package imports it."""
