"""What an evaluation must show before a challenger takes charge."""
