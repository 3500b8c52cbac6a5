"""What is said about a trained model: baselines, numbers, figures, tables and the model card."""
