"""Where state lives, what time it is, how bytes are hashed and written. Imports nothing of the platform."""
