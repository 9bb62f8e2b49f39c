"""What a training run stands on: its folder and progress, and sharing it between machines."""
