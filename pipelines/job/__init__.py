"""One run of a plan towards an output: possession, stages, what must be there, what is said."""
