"""What makes the platform act without a person: evidence, new data, the calendar, failures. A sensor decides and yields."""
