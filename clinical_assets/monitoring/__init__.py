"""What the platform shows of itself: metrics of rollouts, gates and data, and the servers that collect them."""
