"""Speed as ratios: each figure stands against something named, measured on the same machine in the same run."""
