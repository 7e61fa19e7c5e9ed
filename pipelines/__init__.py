"""Jobs: what one launches."""
