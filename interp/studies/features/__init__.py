"""The main job: what the features of one layer are, and whether they detect and steer."""
