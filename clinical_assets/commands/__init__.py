"""Groups of commands of `clinical`, one module for each kind of work; `cli` puts them together."""
