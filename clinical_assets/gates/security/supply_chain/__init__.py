"""What the platform runs on: installed distributions, their origin and known faults, and the files that deploy it."""
