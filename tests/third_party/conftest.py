"""The packages in this folder are projects of their own, tested where they are installed."""

collect_ignore = ["acme_pipe", "acme_window"]
