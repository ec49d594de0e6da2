"""One page a job."""
