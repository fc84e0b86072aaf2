"""The evidence of one model version: what people read, what a stranger can verify offline, and no patient's row."""
