"""Speed, memory and error of pairtile beside its peers. Run `python -m bench --help`."""
