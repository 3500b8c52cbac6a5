"""Many clips: which ones, by which processes, and what is written about each of them."""
