"""Each call of the API meets each fault: once, the second time, always."""
