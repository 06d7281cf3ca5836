"""Images or vectors in, a density out: data sets, batches, the loop, and the run that keeps it in files."""
