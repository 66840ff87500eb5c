"""The packages in this folder are projects of their own, with tests that run where they are
installed.
"""

collect_ignore = ["acme_window"]
