"""What makes the platform act without a person: evidence, new data, the calendar, failures."""
