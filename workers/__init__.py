"""Where a run happens: the in-process and process-pool backend, the Ray backend, and the driver of one attempt."""
