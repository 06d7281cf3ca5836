"""Where a flow meets its networks: one paper, one file."""
