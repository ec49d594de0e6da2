"""What can be read off images: factors, plain measures, smoothness, the sanity gate; and sheets."""
