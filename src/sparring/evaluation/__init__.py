"""What a training and a trained generator are worth: the monitor, the alarms, the metric card."""
