"""Jobs, files and people: the command, the run folder, the cluster and the report."""
