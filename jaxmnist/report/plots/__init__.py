"""Pictures, drawn by Matplotlib."""
