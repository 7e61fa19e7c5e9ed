"""Exchange through files: segments, records of tasks, and how Beam regroups references to them."""
